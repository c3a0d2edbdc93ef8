//! Rust source as far as the rules need it: words and signs, without comments, strings and tests.

use std::path::Path;

/// One source file.
pub(crate) struct File {
    /// Its path under the folder that was read.
    pub(crate) path: String,
    /// Its name without `.rs`.
    pub(crate) name: String,
    /// The module at the top that it belongs to: `transport` for `transport/server.rs`.
    pub(crate) module: String,
    /// Its text.
    pub(crate) text: String,
    tokens: Vec<Token>,
}

struct Token {
    line: usize,
    text: String,
}

/// All Rust files under `folder`, also when there are none, in the order of their names.
/// Build products and templates are not ours to judge.
pub(crate) fn files(folder: &Path) -> Vec<File> {
    let mut found = Vec::new();
    collect(folder, folder, &mut found);
    found.sort_by(|one: &File, other| one.path.cmp(&other.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<File>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "template" {
            collect(root, &path, found);
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_string_lossy();
            found.push(File::new(&path, text));
        }
    }
}

impl File {
    pub(crate) fn new(path: &str, text: String) -> File {
        let stem = path.trim_end_matches(".rs");
        let (module, name) = match (stem.split_once('/'), stem.rsplit_once('/')) {
            (Some((module, _)), Some((_, name))) => (module, name),
            _ => (stem, stem),
        };
        let code = if holds_tests(path) {
            ""
        } else {
            without_tests(&text)
        };
        File {
            tokens: tokens(code),
            path: path.to_string(),
            name: name.to_string(),
            module: module.to_string(),
            text,
        }
    }

    /// The file holds nothing but tests.
    pub(crate) fn is_test(&self) -> bool {
        holds_tests(&self.path)
    }

    /// The modules of ours that are named, each with its line.
    pub(crate) fn imports(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for start in 0..self.tokens.len() {
            let name = self.word(start, "crate") || self.word(start, "mistersmith");
            // `exports::mistersmith::agent` is a package of the bindings.
            let ours = name && !(start > 0 && self.word(start - 1, "::"));
            if !(ours && self.word(start + 1, "::")) {
                continue;
            }
            if !self.word(start + 2, "{") {
                found.extend(self.name(start + 2));
                continue;
            }
            let mut depth = 0;
            for at in start + 2..self.tokens.len() {
                let head = depth == 1 && (self.word(at - 1, "{") || self.word(at - 1, ","));
                if head {
                    found.extend(self.name(at));
                }
                match self.tokens[at].text.as_str() {
                    "{" => depth += 1,
                    "}" => depth -= 1,
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        found
    }

    /// The lines where a path begins with, or goes through, `path`.
    pub(crate) fn paths(&self, path: &[&str]) -> Vec<usize> {
        let mut found = Vec::new();
        for start in 0..self.tokens.len() {
            let whole = path.iter().enumerate().all(|(nth, part)| {
                self.word(start + 2 * nth, part)
                    && (nth == 0 || self.word(start + 2 * nth - 1, "::"))
            });
            let before = |text| start > 0 && self.word(start - 1, text);
            // One word alone is a path only at the head of one; anything may have such a field.
            let head =
                path.len() > 1 || before("use") || (self.word(start + 1, "::") && !before("::"));
            if whole && head {
                found.push(self.tokens[start].line);
            }
        }
        found
    }

    /// The lines where the macro `name` is called.
    pub(crate) fn macros(&self, name: &str) -> Vec<usize> {
        (0..self.tokens.len())
            .filter(|at| self.word(*at, name) && self.word(at + 1, "!"))
            .map(|at| self.tokens[at].line)
            .collect()
    }

    /// The functions: the line of each, and how many lines it has. Reads the form that rustfmt
    /// gives: a function ends with a brace that stands as far in as its first line.
    pub(crate) fn functions(&self) -> Vec<(usize, usize)> {
        let code = without_tests(&self.text);
        let lines: Vec<&str> = code.lines().collect();
        let mut found = Vec::new();
        for (first, line) in lines.iter().enumerate() {
            let inner = line.trim_start();
            let begins = inner.starts_with("fn ")
                || inner.split_once(" fn ").is_some_and(|(before, _)| {
                    before
                        .split(' ')
                        .all(|word| word.starts_with("pub") || ["async", "const"].contains(&word))
                });
            if !begins || inner.ends_with('}') || inner.ends_with(';') {
                continue;
            }
            let end = format!("{}}}", &line[..line.len() - inner.len()]);
            let rest = lines[first..].iter();
            if let Some(more) = rest.clone().position(|line| **line == end) {
                found.push((first + 1, more + 1));
            }
        }
        found
    }

    fn word(&self, at: usize, text: &str) -> bool {
        self.tokens.get(at).is_some_and(|token| token.text == text)
    }

    fn name(&self, at: usize) -> Option<(usize, String)> {
        let token = self.tokens.get(at)?;
        let word = token.text.starts_with(|c: char| c.is_lowercase());
        // `crate::Name` and `crate::name!` are of the crate's root.
        (word && token.text != "self").then(|| (token.line, token.text.clone()))
    }
}

/// `testing.rs` is what tests share, and is compiled for them alone.
fn holds_tests(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs" | "testing.rs"))
}

/// The code of a file before its module of tests, which stands last.
fn without_tests(text: &str) -> &str {
    match text.find("#[cfg(test)]\nmod tests") {
        Some(end) => &text[..end],
        None => text,
    }
}

/// Splits code into words and signs; `::` is one sign.
fn tokens(code: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let silent = if rest.starts_with("//") {
            Some(rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            Some(rest.find("*/").map_or(rest.len(), |end| end + 2))
        } else {
            string(rest)
        };
        let length = if let Some(length) = silent {
            length
        } else if first.is_alphanumeric() || first == '_' {
            let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
            word.unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (text, after) = rest.split_at(length);
        if silent.is_none() && !first.is_whitespace() {
            found.push(Token {
                line,
                text: text.to_string(),
            });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// The length of the string or character that `rest` begins with.
fn string(rest: &str) -> Option<usize> {
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        raw[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let body = 1 + hashes + 1;
        return rest[body..].find(&end).map(|at| body + at + end.len());
    }
    let quote = rest.chars().next().filter(|c| ['"', '\''].contains(c))?;
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return Some(at + 1),
            // A lifetime: `'a` without a second quote right after one character.
            _ if quote == '\'' && at > 1 && !rest.starts_with("'\\") => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(code: &str) -> Vec<String> {
        tokens(code).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        assert_eq!(words("a // b\n/* c */ d"), ["a", "d"]);
        let code = r##"f("x \" y", r#"a"b"#, '"', 'z', '\'', '\u{1b}') r"##;
        assert_eq!(words(code).join(""), "f(,,,,,)r");
        assert_eq!(
            words("fn f<'a>(x: &'a str)").join(" "),
            "fn f < ' a > ( x : & ' a str )"
        );
    }

    #[test]
    fn lines_are_counted() {
        let found = tokens("a\n\"x\ny\"\nb");
        assert_eq!(found.last().unwrap().line, 4);
    }
}

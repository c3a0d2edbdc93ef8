//! As much of Markdown as these documents use: headings, fenced blocks, links, tables, code spans.

use std::path::{Path, PathBuf};

/// A document.
pub struct Page {
    /// Its path below the root of the repository.
    pub name: String,
    pub text: String,
}

/// A fenced block.
pub struct Block {
    /// The line of its first line of text.
    pub line: usize,
    /// What stands behind the fence: `toml plugin`.
    pub info: String,
    pub text: String,
}

pub fn root() -> PathBuf {
    let tests = mistersmith_testing::package("");
    tests.parent().unwrap().to_owned()
}

/// Every document that is checked.
pub fn pages() -> Vec<Page> {
    let root = root();
    let mut files: Vec<PathBuf> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ]
    .iter()
    .map(|name| root.join(name))
    .collect();
    collect(&root.join("docs"), &mut files);
    files.sort();
    files.iter().map(|path| read(path)).collect()
}

/// One of them.
pub fn page(name: &str) -> Page {
    read(&root().join(name))
}

fn read(path: &Path) -> Page {
    let name = path.strip_prefix(root()).unwrap().display().to_string();
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    Page { name, text }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            files.push(path);
        }
    }
}

impl Page {
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<Block> = None;
        for (number, line) in self.text.lines().enumerate() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(info)) => {
                    open = Some(Block {
                        line: number + 2,
                        info: info.trim().to_owned(),
                        text: String::new(),
                    });
                }
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some(block), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.name);
        blocks
    }

    /// The lines outside of blocks, with their numbers.
    pub fn prose(&self) -> Vec<(usize, &str)> {
        let mut inside = false;
        let mut prose = Vec::new();
        for (number, line) in self.text.lines().enumerate() {
            if line.starts_with("```") {
                inside = !inside;
            } else if !inside {
                prose.push((number + 1, line));
            }
        }
        prose
    }

    /// The texts between backticks, outside of blocks.
    pub fn spans(&self) -> Vec<(usize, String)> {
        let mut spans = Vec::new();
        for (number, line) in self.prose() {
            let odd = line.split('`').skip(1).step_by(2);
            spans.extend(odd.map(|text| (number, text.to_owned())));
        }
        spans
    }

    /// Relative links, outside of blocks and code spans.
    pub fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        for (number, line) in self.prose() {
            let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
            for after in plain.split("](").skip(1) {
                let target = after.split(')').next().unwrap_or_default();
                if !target.contains("://") && !target.starts_with("mailto:") {
                    links.push((number, target.to_owned()));
                }
            }
        }
        links
    }

    /// Why a relative link leads nowhere.
    pub fn broken(&self, target: &str) -> Option<String> {
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let own = root().join(&self.name);
        let file = if path.is_empty() {
            own.clone()
        } else {
            own.parent()?.join(path)
        };
        if !file.exists() {
            return Some("there is no such file".to_owned());
        }
        let known = anchor.is_empty()
            || read(&file.canonicalize().unwrap())
                .headings()
                .iter()
                .any(|(_, text)| slug(text) == anchor);
        (!known).then(|| "there is no such heading".to_owned())
    }

    /// Level and text of each heading.
    pub fn headings(&self) -> Vec<(usize, String)> {
        self.prose()
            .iter()
            .filter_map(|(_, line)| {
                let level = line.bytes().take_while(|b| *b == b'#').count();
                let text = line.get(level..)?.strip_prefix(' ')?;
                (level > 0).then(|| (level, text.to_owned()))
            })
            .collect()
    }

    /// What stands below a heading, those of lower levels included.
    pub fn section(&self, heading: &str) -> String {
        let mut text = String::new();
        let mut inside: Option<usize> = None;
        for (_, line) in self.prose() {
            let level = line.bytes().take_while(|b| *b == b'#').count();
            let title = line.get(level..).unwrap_or_default().trim();
            match inside {
                None if level > 0 && title == heading => inside = Some(level),
                Some(own) if level > 0 && level <= own => break,
                Some(_) => {
                    text.push_str(line);
                    text.push('\n');
                }
                None => {}
            }
        }
        assert!(
            inside.is_some(),
            "{}: there is no heading {heading:?}",
            self.name
        );
        text
    }

    /// The rows of the tables below a heading, without their heads; cells without backticks around
    /// them.
    pub fn rows(&self, heading: &str) -> Vec<Vec<String>> {
        let section = self.section(heading);
        let lines: Vec<&str> = section.lines().collect();
        let ruler = |line: &&str| line.starts_with("|--") || line.starts_with("|-");
        let mut rows = Vec::new();
        for (at, line) in lines.iter().enumerate() {
            let head = lines.get(at + 1).is_some_and(ruler);
            if line.starts_with('|') && !ruler(line) && !head {
                let cells = line.trim_matches('|').split('|');
                rows.push(cells.map(|cell| cell.trim().to_owned()).collect());
            }
        }
        assert!(
            !rows.is_empty(),
            "{}: no table below {heading:?}",
            self.name
        );
        rows
    }
}

/// The texts between backticks in a cell.
pub fn names(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// The anchor that GitHub makes of a heading.
pub fn slug(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

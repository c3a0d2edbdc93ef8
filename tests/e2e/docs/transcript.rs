//! The blocks of a page that are carried out, and how what they show compares with what is printed.

use super::markdown::Page;

/// One thing that a reader does.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes a file.
    Write { file: String, text: String },
    /// Types a command.
    Run {
        line: usize,
        command: String,
        shown: String,
    },
    /// Runs a program in Python.
    Python {
        line: usize,
        text: String,
        shown: Option<String>,
    },
}

/// What a reader of a page does, in order.
pub fn steps(page: &Page) -> Vec<Step> {
    let mut steps = Vec::new();
    for block in page.blocks() {
        let words: Vec<&str> = block.info.split_whitespace().collect();
        if let Some(file) = words.iter().find_map(|word| word.strip_prefix("run=")) {
            steps.push(Step::Write {
                file: file.to_owned(),
                text: block.text,
            });
        } else if words.first() == Some(&"python") {
            steps.push(Step::Python {
                line: block.line,
                text: block.text,
                shown: None,
            });
        } else if words == ["text", "printed"] {
            let Some(Step::Python { shown, .. }) = steps.last_mut() else {
                panic!("{}:{}: no program before", page.name, block.line);
            };
            *shown = Some(block.text);
        } else if words == ["console", "run"] {
            for (number, line) in block.text.lines().enumerate() {
                match (line.strip_prefix("$ "), steps.last_mut()) {
                    (Some(command), _) => steps.push(Step::Run {
                        line: block.line + number,
                        command: command.to_owned(),
                        shown: String::new(),
                    }),
                    (None, Some(Step::Run { shown, .. })) => {
                        shown.push_str(line);
                        shown.push('\n');
                    }
                    (None, _) => panic!("{}:{}: no command before", page.name, block.line + number),
                }
            }
        }
    }
    steps
}

/// Whether a command printed what the page shows. Spaces at the ends of lines, and empty lines at
/// the end, do not count.
pub fn is_as_shown(printed: &str, shown: &str) -> bool {
    let lines = |text: &str| -> Vec<String> {
        text.trim_end()
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    };
    all_match(&lines(printed), &lines(shown))
}

fn all_match(printed: &[String], shown: &[String]) -> bool {
    match shown.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == "…" => {
            (0..=printed.len()).any(|skipped| all_match(&printed[skipped..], rest))
        }
        Some((first, rest)) => printed
            .split_first()
            .is_some_and(|(line, more)| line_matches(line, first) && all_match(more, rest)),
    }
}

/// `…` stands for any text, also for none.
fn line_matches(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut left) = parts.next().and_then(|start| line.strip_prefix(start)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return left.ends_with(part);
        }
        let Some(at) = left.find(part) else {
            return false;
        };
        left = &left[at + part.len()..];
    }
    left.is_empty()
}

#[test]
fn dots_stand_for_what_changes() {
    for (printed, shown, same) in [
        ("hello\n", "hello\n", true),
        ("hello", "hello\n", true),
        ("hello\nworld", "hello\n", false),
        ("stored as 17\n", "stored as …\n", true),
        ("stored as 17 now\n", "stored as … now\n", true),
        ("stored\n", "stored as …\n", false),
        ("a\nb\nc\nd\n", "a\n…\nd\n", true),
        ("a\nd\n", "a\n…\nd\n", true),
        ("a\nb\n", "a\n…\nd\n", false),
        ("x  \ny\n\n", "x\ny\n", true),
        ("anything", "", false),
    ] {
        assert_eq!(is_as_shown(printed, shown), same, "{printed:?} {shown:?}");
    }
}

#[test]
fn a_page_is_read_as_steps() {
    let text = "x\n```toml plugin run=a/b.toml\n[plugin]\n```\n```console run\n$ one\n1\n$ two\n```\n```console\n$ three\n```\n\
                ```python\nprint(4)\n```\n```text printed\n4\n```\n```python\n5\n```\n";
    let page = Page {
        name: "p".to_owned(),
        text: text.to_owned(),
    };
    let run = |line, command: &str, shown: &str| Step::Run {
        line,
        command: command.to_owned(),
        shown: shown.to_owned(),
    };
    let write = Step::Write {
        file: "a/b.toml".to_owned(),
        text: "[plugin]\n".to_owned(),
    };
    let python = |line, text: &str, shown: Option<&str>| Step::Python {
        line,
        text: text.to_owned(),
        shown: shown.map(str::to_owned),
    };
    assert_eq!(
        steps(&page),
        [
            write,
            run(6, "one", "1\n"),
            run(8, "two", ""),
            python(14, "print(4)\n", Some("4\n")),
            python(20, "5\n", None),
        ]
    );
}

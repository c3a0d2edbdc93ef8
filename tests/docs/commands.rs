//! Command lines in the documents are understood by the program, and the reference lists every
//! command and every option.

use std::ffi::OsString;

use clap::{CommandFactory as _, Parser as _};
use mistersmith::cli::{Cli, Exit};
use mistersmith_bench::command::Args as Bench;

use crate::check;
use crate::markdown::{page, pages};

const PAGE: &str = "docs/reference/commands.md";
/// The programs whose command lines are checked.
const PROGRAMS: [&str; 2] = ["mistersmith", "mistersmith-bench"];

/// The words of a line as a shell would see them; what follows a pipe, a redirection or a comment
/// is not for the program.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, '|' | '>' | '<' | ';' | '&') => break,
            (None, '#') if word.is_none() => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The command lines of a text: at the beginning of a line, behind a prompt or not.
fn lines(text: &str) -> Vec<&str> {
    let bare = text
        .lines()
        .map(|line| line.trim_start().trim_start_matches("$ "));
    bare.filter(|line| {
        line.split(' ')
            .next()
            .is_some_and(|program| PROGRAMS.contains(&program))
    })
    .collect()
}

fn is_understood(line: &str) -> bool {
    let words = words(line);
    if words[0] == PROGRAMS[1] {
        let wrong = |error: clap::Error| error.use_stderr();
        return !Bench::try_parse_from(words).is_err_and(wrong);
    }
    let words = words.into_iter().map(OsString::from);
    !matches!(Cli::from_arguments(words), Err(exit) if exit != Exit::DONE)
}

#[test]
fn every_command_line_is_understood() {
    let mut found = Vec::new();
    let mut seen = 0;
    for page in pages() {
        for block in page.blocks() {
            for line in lines(&block.text) {
                seen += 1;
                if !is_understood(line) {
                    found.push(format!("{}:{}: {line}", page.name, block.line));
                }
            }
        }
        // `mistersmith new [NAME]…` shows a form, not a command line.
        let form = |text: &str| text.contains(['[', '…', '<']) || text.contains(" COMMAND");
        for (number, span) in page.spans() {
            if lines(&span).len() == 1 && !form(&span) {
                seen += 1;
                // A number has a placeholder; a name of a command stands for the command.
                let line = span.replace("NUMBER", "1");
                let words = words(&line);
                let is_name =
                    words.len() == 2 && Cli::command().find_subcommand(&words[1]).is_some();
                if !is_name && !is_understood(&line) {
                    found.push(format!("{}:{number}: {span}", page.name));
                }
            }
        }
    }
    check(found);
    assert!(seen > 40, "only {seen} command lines were seen");
}

#[test]
fn a_wrong_command_line_is_seen() {
    assert!(is_understood(
        "mistersmith request tools.echo 'two words' | head -1"
    ));
    assert!(is_understood(
        "mistersmith dlq purge 1 2 --yes   # for good"
    ));
    assert!(is_understood("mistersmith publish --help"));
    assert!(is_understood("mistersmith-bench request --rounds 9"));
    assert!(!is_understood("mistersmith-bench speed"));
    assert!(!is_understood("mistersmith frobnicate"));
    assert!(!is_understood("mistersmith agents --jsn"));
    assert_eq!(words("a 'b c' d>e"), ["a", "b c", "d"]);
}

/// Whether a section explains an argument: by its long name, or by its name as a placeholder.
fn explains(section: &str, argument: &clap::Arg) -> bool {
    match argument.get_long() {
        Some(long) => {
            section.contains(&format!("`--{long}")) || section.contains(&format!(", `--{long}`"))
        }
        None => argument
            .get_value_names()
            .into_iter()
            .flatten()
            .any(|name| {
                section.contains(name.as_str()) || section.contains(name.trim_end_matches('S'))
            }),
    }
}

#[test]
fn the_reference_lists_every_command_and_option() {
    let reference = page(PAGE);
    let program = Cli::command();
    let mut found = Vec::new();
    let global = reference.section("Options of every command");
    for argument in program.get_arguments() {
        if !explains(&global, argument) {
            found.push(format!("global option {}", argument.get_id()));
        }
    }
    let bench = Bench::command();
    let mut todo: Vec<(String, &clap::Command)> = program
        .get_subcommands()
        // What only a host starts.
        .filter(|command| !command.is_hide_set())
        .chain([&bench])
        .map(|command| (command.get_name().to_owned(), command))
        .collect();
    while let Some((name, command)) = todo.pop() {
        let heading = format!("`{name}`");
        if !reference
            .headings()
            .iter()
            .any(|(_, text)| *text == heading)
        {
            found.push(format!("command {name}"));
            continue;
        }
        let section = reference.section(&heading);
        for argument in command
            .get_arguments()
            .filter(|argument| !argument.is_global_set() && !argument.is_hide_set())
        {
            if !explains(&section, argument) {
                found.push(format!("{name}: {}", argument.get_id()));
            }
        }
        todo.extend(
            command
                .get_subcommands()
                .map(|sub| (format!("{name} {}", sub.get_name()), sub)),
        );
    }
    check(found);
}

#[test]
fn the_reference_names_no_option_that_does_not_exist() {
    let mut program = Cli::command();
    program.build();
    let mut longs: Vec<String> = vec!["help".to_owned(), "version".to_owned()];
    let bench = Bench::command();
    let mut todo: Vec<&clap::Command> = vec![&program, &bench];
    while let Some(command) = todo.pop() {
        longs.extend(
            command
                .get_arguments()
                .filter_map(|argument| argument.get_long())
                .map(str::to_owned),
        );
        todo.extend(command.get_subcommands());
    }
    let reference = page(PAGE);
    let spans = reference.spans();
    let options = spans.iter().flat_map(|(line, span)| {
        let words = span
            .split_whitespace()
            .filter_map(|word| word.strip_prefix("--"));
        words.map(move |word| (line, word))
    });
    // Of cargo, whose command line the page shows.
    let foreign = ["release", "target"];
    let strange = options
        .filter(|(_, word)| !longs.iter().any(|long| long == word) && !foreign.contains(word));
    check(
        strange
            .map(|(line, word)| format!("{PAGE}:{line}: --{word}"))
            .collect(),
    );
}

//! Output of commands: results on standard output, errors on standard error.
//!
//! Text that came over NATS or from a plugin passes through [`visible`] before it is printed;
//! otherwise its control characters would steer the terminal.

use std::io::{IsTerminal, Write};

use serde::Serialize;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::logging;

/// Writes `text` and a line end to standard output.
///
/// A reader that closed the pipe (`mistersmith agents | head -1`) is no error.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    bytes(format!("{text}\n").as_bytes())
}

/// Writes `data` to standard output unchanged, and waits for its reader.
#[expect(
    clippy::disallowed_methods,
    reason = "results go to standard output here"
)]
pub(crate) fn bytes(data: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let mut out = std::io::stdout().lock();
        out.write_all(data).and_then(|()| out.flush())
    };
    // A reader that does not read blocks this output only, and no agent.
    let threads = Handle::try_current().map(|handle| handle.runtime_flavor());
    let written = match threads {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(write),
        _ => write(),
    };
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output"))
        }
        _ => Ok(()),
    }
}

/// Writes a payload to standard output: unchanged to a program; to a terminal with control
/// characters escaped and a line end.
pub(crate) fn payload(data: &[u8]) -> anyhow::Result<()> {
    if is_terminal() {
        line(&visible(&String::from_utf8_lossy(data)))
    } else {
        bytes(data)
    }
}

/// Writes `value` to standard output as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// Writes one line to standard error, marked as an error. Nothing remains to be done if that fails
/// too.
pub(crate) fn complain(text: &str) {
    remark(&format!("error: {text}"));
}

/// Writes one line to standard error that is neither a result nor an error; after the lines of the
/// log, where there is one.
#[expect(
    clippy::disallowed_methods,
    reason = "remarks go to standard error here"
)]
pub(crate) fn remark(text: &str) {
    let line = format!("{text}\n");
    if !logging::enqueue(&line) {
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }
}

/// Whether standard output is a terminal.
#[expect(clippy::disallowed_methods, reason = "asked, not written to")]
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether standard error is a terminal, on which progress bars are drawn.
#[expect(clippy::disallowed_methods, reason = "asked, not written to")]
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// `text` with control characters replaced by escapes, except line ends and tabs.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            _ if character.is_control() => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    shown
}

/// `text` on one line, with control characters escaped, cut to `most` characters.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count == most {
            shown.push('…');
            break;
        }
        if character.is_control() {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// A table with a header, its columns as wide as their widest cell, the last one not padded.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head = head.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut shown = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let pad = width.saturating_sub(cell.chars().count()) + 2;
            shown.push_str(cell);
            shown.extend(std::iter::repeat_n(' ', pad));
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do() {
        assert_eq!(visible("a\x1b[2Jb\r\nc\td"), "a\\u{1b}[2Jb\\r\nc\td");
        assert_eq!(one_line("a\nb\x07c", 80), "a\\nb\\u{7}c");
        assert_eq!(one_line("abcdef", 3), "abc…");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![
            vec!["echo-001".to_string(), "ready".to_string()],
            vec!["x".to_string(), "paused".to_string()],
        ];
        assert_eq!(
            table(&["agent", "status"], &rows),
            "agent     status\necho-001  ready\nx         paused"
        );
    }
}

//! Results on standard output, everything else on standard error.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use anyhow::Context as _;

/// Writes a text and a line end to standard output. A reader that went away is no failure.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error that is no result. Nothing is left to do when that fails.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A person watches standard error, where the progress bar is drawn.
pub(crate) fn is_watched() -> bool {
    std::io::stderr().is_terminal()
}

/// Rows below a head, each column as wide as its widest cell.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let cells = || std::iter::once(head).chain(rows.iter().map(|row| row.each_ref().map(|c| &**c)));
    let width = |column: usize| {
        let widths = cells().filter_map(|row| Some(row.get(column)?.chars().count()));
        widths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in cells() {
        let mut shown = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", shown.trim_end());
    }
    text.truncate(text.trim_end().len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [
            ["µs".to_owned(), "a".to_owned()],
            ["x".to_owned(), "10".to_owned()],
        ];
        assert_eq!(table(["unit", "n"], &rows), "unit  n\nµs    a\nx     10");
    }
}

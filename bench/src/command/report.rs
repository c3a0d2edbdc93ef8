//! The table of a benchmark.

use std::fmt::Write as _;

use super::{Measured, Report};
use crate::output;
use crate::{RoundStats, Row};

const HEAD: [&str; 6] = ["case", "figure", "unit", "mistersmith", "beside", "ratio"];

/// The whole report as a person reads it.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!(
        "{}\n{} rounds of {} s each, in turns; median (min–max)\n",
        report.machine.summary(),
        report.rounds,
        report.seconds
    );
    for scenario in &report.scenarios {
        // Writing to a string cannot fail.
        let Measured {
            name,
            about,
            server,
            ..
        } = scenario;
        let _ = write!(text, "\n{name}: {about} ({server})\n");
        if let Some(error) = &scenario.error {
            let _ = writeln!(text, "  could not be measured: {error}");
            continue;
        }
        let rows: Vec<[String; 6]> = scenario.rows.iter().map(cells).collect();
        text.push_str(&output::table(HEAD, &rows));
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn cells(row: &Row) -> [String; 6] {
    let (beside, ratio) = match &row.reference {
        Some(reference) => (
            format!("{} {}", reference.name, spread(&reference.figures)),
            reference.ratio.as_ref().map(spread).unwrap_or_default(),
        ),
        None => (String::new(), String::new()),
    };
    [
        row.case.clone(),
        row.figure.to_owned(),
        row.unit.to_owned(),
        spread(&row.product),
        beside,
        ratio,
    ]
}

fn spread(spread: &RoundStats) -> String {
    let RoundStats {
        median, min, max, ..
    } = *spread;
    format!("{} ({}–{})", number(median), number(min), number(max))
}

/// Three significant digits.
pub(super) fn number(number: f64) -> String {
    let size = number.abs();
    let digits = match size {
        0.0 => 0,
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let shown = [0.0, 0.1234, 1.234, 12.34, 123.4, 123_456.7].map(number);
        assert_eq!(shown, ["0", "0.123", "1.23", "12.3", "123", "123457"]);
    }
}

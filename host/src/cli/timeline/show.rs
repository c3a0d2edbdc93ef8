//! A timeline as text: a table, and on a terminal a bar for each span.

use super::rebuild::{Line, Timeline};
use crate::cli::output::{one_line, table};

/// Width of a bar, in characters.
const WIDTH: usize = 32;
/// Most characters of a subject and of a detail.
const SHOWN: usize = 60;

impl Timeline {
    /// The timeline of an id as text, with optional bars.
    pub(in crate::cli) fn text(&self, id: &str, bars: bool) -> String {
        let mut head = vec![
            "+ms", "what", "subject", "agent", "retries", "took", "detail",
        ];
        if bars {
            head.insert(1, "");
        }
        let whole = self.lines().last().map_or(0.0, |line| line.ms);
        let rows: Vec<Vec<String>> = self
            .lines()
            .iter()
            .map(|line| {
                let mut row = row(line);
                if bars {
                    row.insert(1, bar(line, whole));
                }
                row
            })
            .collect();
        let began = self.lines().first().map_or("", |line| line.at.as_str());
        let mut text = format!(
            "{id}: {} lines in {}, from {began}\n",
            rows.len(),
            span(whole)
        );
        for trace in self.traces.iter().filter(|trace| *trace != id) {
            let trace = one_line(trace, SHOWN);
            text.push_str(&format!("belongs to the trace {trace}\n"));
        }
        text.push('\n');
        text.push_str(&table(&head, &rows));
        text
    }
}

fn row(line: &Line) -> Vec<String> {
    let place = || format!("{} {}", line.stream, line.sequence);
    let subject = line.subject.clone().unwrap_or_else(place);
    let took = match (line.took_ms, line.waited_ms) {
        (Some(took), Some(waited)) if waited < took => {
            format!("{} (waited {})", span(took), span(waited))
        }
        (Some(took), _) => span(took),
        (None, _) => String::new(),
    };
    vec![
        format!("{:.1}", line.ms),
        line.what.to_owned(),
        one_line(&subject, SHOWN),
        one_line(line.agent_id.as_deref().unwrap_or_default(), SHOWN),
        line.retries.map(|n| n.to_string()).unwrap_or_default(),
        took,
        one_line(&line.detail, SHOWN),
    ]
}

/// A duration in readable units.
fn span(ms: f64) -> String {
    if ms < 1000.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{:.2} s", ms / 1000.0)
    }
}

/// The bar of a line between the first and the last: from its input, if it has one, to itself.
fn bar(line: &Line, whole: f64) -> String {
    let place = |ms: f64| {
        let part = if whole > 0.0 { ms / whole } else { 0.0 };
        // Between 0 and 1, so the number fits.
        (part.clamp(0.0, 1.0) * (WIDTH - 1) as f64) as usize
    };
    let end = place(line.ms);
    let begin = place(line.ms - line.took_ms.unwrap_or(0.0));
    let begun = place(line.ms - line.took_ms.unwrap_or(0.0) + line.waited_ms.unwrap_or(0.0));
    (0..WIDTH)
        .map(|at| match at {
            at if at == end => '|',
            at if (begin..begun.min(end)).contains(&at) => '.',
            at if (begin..end).contains(&at) => '=',
            _ => ' ',
        })
        .collect()
}

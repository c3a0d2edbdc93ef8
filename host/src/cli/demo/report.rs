//! The final report of the demonstration: text, made from the tally.

use std::fmt::Write as _;
use std::time::Duration;

use super::tally::{Rank, Tally};
use crate::cli::output::{one_line, table};

/// Widest line of the timeline, in characters.
const WIDTH: usize = 150;

/// The load of each agent.
pub(super) fn load(tally: &Tally) -> String {
    let most = tally.load.values().copied().max().unwrap_or(0).max(1);
    let rows: Vec<Vec<String>> = tally
        .load
        .iter()
        .map(|(agent, items)| {
            let bar = usize::try_from(items * 40 / most).unwrap_or(0).max(1);
            vec![one_line(agent, WIDTH), items.to_string(), "#".repeat(bar)]
        })
        .collect();
    table(&["agent", "done", "share"], &rows)
}

/// The leaders.
pub(super) fn leaders(tally: &Tally) -> String {
    let rows: Vec<Vec<String>> = tally
        .leaders
        .iter()
        .map(|(domain, agent, term)| {
            vec![
                one_line(domain, WIDTH),
                one_line(agent, WIDTH),
                term.to_string(),
            ]
        })
        .collect();
    table(&["domain", "leader", "term"], &rows)
}

/// The dead letters.
pub(super) fn dead_letters(tally: &Tally) -> String {
    let shown = |letter: &[String; 3]| letter.iter().map(|text| one_line(text, WIDTH)).collect();
    let rows: Vec<Vec<String>> = tally.letters.iter().map(shown).collect();
    table(&["dead letter", "given up by", "because"], &rows)
}

/// How soon each priority was finished: the mean position of its items among all results.
pub(super) fn priorities(tally: &Tally) -> String {
    let rows: Vec<Vec<String>> = ["critical", "high", "normal", "low"]
        .into_iter()
        .filter_map(|name| {
            let Rank { items, places } = tally.priorities.get(name)?;
            let mean = places / (*items).max(1);
            Some(vec![name.to_owned(), items.to_string(), mean.to_string()])
        })
        .collect();
    table(&["priority", "items", "mean place"], &rows)
}

/// Events with their time; consecutive agents with the same event share one line.
pub(super) fn timeline(tally: &Tally) -> String {
    let mut text = String::new();
    for (at, line) in gathered(&tally.timeline) {
        let _ = writeln!(
            text,
            "{:>8.3} s  {}",
            at.as_secs_f64(),
            one_line(&line, WIDTH)
        );
    }
    text.truncate(text.trim_end().len());
    text
}

/// Joins neighbours of the form `<agent> <same words>`.
fn gathered(lines: &[(Duration, String)]) -> Vec<(Duration, String)> {
    let mut out: Vec<(Duration, String)> = Vec::new();
    let mut run: Vec<&str> = Vec::new();
    let mut words = "";
    for (at, line) in lines {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        if !run.is_empty() && rest == words && rest.contains(' ') && rest.len() < 40 {
            run.push(first);
            if let Some((_, last)) = out.last_mut() {
                *last = format!("{} {}", run.join(", "), plural(words));
            }
            continue;
        }
        run = vec![first];
        words = rest;
        out.push((*at, line.clone()));
    }
    out
}

/// The plural form of an event, for several agents.
fn plural(words: &str) -> String {
    match words.split_once(' ') {
        Some(("is", rest)) => format!("are {rest}"),
        Some(("has", rest)) => format!("have {rest}"),
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_did_the_same_share_a_line() {
        let at = Duration::from_secs(1);
        let lines = [
            "echo-001 is ready",
            "echo-002 is ready",
            "500 results",
            "1000 results",
        ]
        .map(|l| (at, l.to_owned()));
        let texts: Vec<String> = gathered(&lines).into_iter().map(|(_, l)| l).collect();
        assert_eq!(
            texts,
            [
                "echo-001, echo-002 are ready",
                "500 results",
                "1000 results"
            ]
        );
    }
}

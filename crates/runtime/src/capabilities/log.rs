//! `log`: lines of the guest in the host's log.
//!
//! A line is cleaned, cut and counted before it is written: a guest can neither forge lines of the
//! host nor flood the log.

use std::fmt::Write as _;

use tracing::Level;

use super::{AgentContext, Guest};
use crate::bindings::mistersmith::agent::log;
use mistersmith_core::limits::{MAX_LOG_FIELDS, MAX_LOG_LINE};
use mistersmith_core::names::disturbs;

/// The target of lines that come from guests, for filters.
const TARGET: &str = "plugin";

impl log::Host for Guest {
    fn log(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) {
        let level = match level {
            log::Level::Debug => Level::DEBUG,
            log::Level::Info => Level::INFO,
            log::Level::Warn => Level::WARN,
            log::Level::Error => Level::ERROR,
        };
        let trace = self.scope().trace.as_ref();
        let trace = trace.map(|trace| trace.trace_id()).unwrap_or_default();
        self.context.write_line(level, &message, &fields, &trace);
    }
}

impl AgentContext {
    /// Writes a line of the guest, if its level is enabled and the agent's log rate allows it.
    pub(super) fn write_line(
        &self,
        level: Level,
        message: &str,
        fields: &[(String, String)],
        trace: &str,
    ) {
        if !enabled(level) {
            return;
        }
        if !self.rates.log() {
            self.counters.unlogged.add_one();
            return;
        }
        self.report_unlogged();
        self.counters.logged.add_one();
        let message = clean(message, MAX_LOG_LINE);
        let fields = named(fields);
        let (agent, plugin) = (self.agent.as_str(), self.plugin.as_str());
        // The macros want the level and the presence of a field to be constant.
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET,
                    agent,
                    plugin,
                    trace_id = (!trace.is_empty()).then_some(trace),
                    fields = (!fields.is_empty()).then_some(fields.as_str()),
                    "{message}"
                )
            };
        }
        match level {
            Level::ERROR => write!(error),
            Level::WARN => write!(warn),
            Level::INFO => write!(info),
            _ => write!(debug),
        }
    }

    /// Logs how many lines were dropped, at most once a second. Called with the next line that
    /// passes, and when an instance ends.
    pub(crate) fn report_unlogged(&self) {
        if let Some(dropped) = self.rates.take_unlogged() {
            let (agent, plugin) = (self.agent.as_str(), self.plugin.as_str());
            let most = self.limits.log_rate;
            tracing::warn!(target: TARGET, agent, plugin, dropped, "log lines were dropped: \
                [limits] log_rate is {most} a second");
        }
    }
}

fn enabled(level: Level) -> bool {
    match level {
        Level::ERROR => tracing::enabled!(target: TARGET, Level::ERROR),
        Level::WARN => tracing::enabled!(target: TARGET, Level::WARN),
        Level::INFO => tracing::enabled!(target: TARGET, Level::INFO),
        _ => tracing::enabled!(target: TARGET, Level::DEBUG),
    }
}

/// At most `most` bytes, and nothing that moves a terminal's cursor, begins a line, or turns the
/// direction of writing.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let shown = match c {
            '\n' | '\t' => ' ',
            c if disturbs(c) => continue,
            c => c,
        };
        if cleaned.len() + shown.len_utf8() > most {
            cleaned.push('…');
            break;
        }
        cleaned.push(shown);
    }
    cleaned
}

/// `name=value name=value`, cut like a line.
fn named(fields: &[(String, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields.iter().take(MAX_LOG_FIELDS) {
        let room = MAX_LOG_LINE.saturating_sub(text.len());
        if room == 0 {
            break;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        let (name, value) = (clean(name, room.min(64)), clean(value, room));
        let quote = value.is_empty() || value.contains([' ', '"', '=']);
        // Writing to a string cannot fail.
        let _ = if quote {
            write!(text, "{name}={value:?}")
        } else {
            write!(text, "{name}={value}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_says_nothing_to_the_terminal() {
        let cases = [
            ("plain", "plain"),
            ("two\nlines\ttab", "two lines tab"),
            ("\u{1b}[2Jcleared\r\0\u{7}", "[2Jcleared"),
            ("a\u{202e}gpj.exe", "agpj.exe"),
            ("a\u{2028}b\u{feff}", "ab"),
            ("grüße", "grüße"),
        ];
        for (text, cleaned) in cases {
            assert_eq!(clean(text, 100), cleaned, "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(clean("aaaa", 4), "aaaa");
        assert_eq!(clean("aaaaa", 4), "aaaa…");
        assert_eq!(clean("ééé", 3), "é…");
        assert_eq!(
            clean(&"x".repeat(MAX_LOG_LINE * 2), MAX_LOG_LINE)
                .chars()
                .count(),
            MAX_LOG_LINE + 1
        );
    }

    #[test]
    fn fields_are_counted_cut_and_quoted() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(named(&[]), "");
        assert_eq!(
            named(&[field("a", "1"), field("b", "two words")]),
            "a=1 b=\"two words\""
        );
        assert_eq!(
            named(&[field("a", "x\nagent=other")]),
            "a=\"x agent=other\""
        );
        let many: Vec<_> = (0..100).map(|n| field("n", &n.to_string())).collect();
        assert_eq!(named(&many).split(' ').count(), MAX_LOG_FIELDS);
        let long = [
            field("a", &"x".repeat(MAX_LOG_LINE)),
            field("b", &"y".repeat(MAX_LOG_LINE)),
        ];
        assert!(named(&long).len() < MAX_LOG_LINE + 100);
    }
}

//! Log lines in the host's log, each with this agent, its plugin and the current trace. Needs no
//! grant.
//!
//! ```
//! use mistersmith_sdk::log;
//!
//! let (words, file) = (12, "a.txt");
//! log::info!("counted {words} words");
//! log::warn!(words = words, file = file; "nothing in {file} but numbers");
//! ```
//!
//! The macros are those of the crate `log`: named values (at most 16) come first, then `;`, then
//! the text. A line is cut at 8 KiB and loses control characters; a plugin has `limits.log_rate`
//! lines a second (100), and the host says how many were dropped. What a plugin prints becomes a
//! log line as well.

mod level;

use crate::imports;

pub use level::Level;

/// Writes a line, with named values beside it: what the macros do.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    imports::log(level, message, fields);
}

#[doc(hidden)]
#[macro_export]
macro_rules! __log {
    ($level:ident; $($key:ident = $value:expr),+ ; $($text:tt)+) => {
        $crate::log::write(
            $crate::log::Level::$level,
            &::std::format!($($text)+),
            &[$((::std::stringify!($key).to_owned(), ::std::format!("{}", $value))),+],
        )
    };
    ($level:ident; $($text:tt)+) => {
        $crate::log::write($crate::log::Level::$level, &::std::format!($($text)+), &[])
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($line:tt)+) => { $crate::__log!(Debug; $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($line:tt)+) => { $crate::__log!(Info; $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($line:tt)+) => { $crate::__log!(Warn; $($line)+) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($line:tt)+) => { $crate::__log!(Error; $($line)+) };
}

#[doc(inline)]
pub use crate::{__debug as debug, __error as error, __info as info, __warn as warn};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::mock::{Bus, LogLine};
    use crate::{Agent, Result, log};

    struct Chatty;

    impl Agent for Chatty {
        fn start() -> Result<Self> {
            let n = 3;
            log::debug!("plain");
            log::info!("captured {n}, {}", n + 1);
            log::warn!(n = n, next = n + 1; "fields");
            log::error!(why = "x"; "{n:>3}");
            Ok(Self)
        }
    }

    #[test]
    fn lines_have_levels_texts_and_fields() {
        let bus = Bus::new();
        bus.start::<Chatty>().unwrap();
        let line = |level, message: &str, fields: &[(&str, &str)]| LogLine {
            level,
            message: message.into(),
            fields: fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        };
        let expected = [
            line(Level::Debug, "plain", &[]),
            line(Level::Info, "captured 3, 4", &[]),
            line(Level::Warn, "fields", &[("n", "3"), ("next", "4")]),
            line(Level::Error, "  3", &[("why", "x")]),
        ];
        assert_eq!(bus.logs(), expected);
    }

    #[test]
    fn levels_are_ordered_and_named() {
        assert!(Level::Debug < Level::Error);
        assert_eq!(Level::Warn.to_string(), "warn");
    }
}

//! How a command ends: its exit code, and its error printed once.

use std::fmt;
use std::process::ExitCode;

use crate::cli::output;

/// How the process ends: 0 done, 1 failed, 64 wrong usage or configuration, 128 + n by signal n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// The command did what was asked.
    pub const DONE: Exit = Exit(0);
    /// The command could not do what was asked.
    pub const FAILED: Exit = Exit(1);
    /// The command line or a configuration file is wrong (`EX_USAGE` of sysexits.h).
    pub const USAGE: Exit = Exit(64);

    /// The exit for an error, which is printed here and nowhere else: the whole chain on one
    /// line of standard error, most specific last.
    pub fn failed(error: &anyhow::Error) -> Exit {
        if let Some(Shown(exit)) = error.downcast_ref::<Shown>() {
            return *exit;
        }
        output::complain(&format!("{error:#}"));
        if error.downcast_ref::<Usage>().is_some() {
            Exit::USAGE
        } else {
            Exit::FAILED
        }
    }

    /// The exit after signal `number`, as shells report it.
    pub fn signalled(number: u8) -> Exit {
        Exit(number.saturating_add(128))
    }

    /// The number that the parent process sees.
    pub fn code(self) -> u8 {
        self.0
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.0)
    }
}

/// An error of the person's making: a wrong argument or a wrong configuration file.
///
/// It may stand anywhere in an error's chain, and makes the exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Says that the command line or a configuration file is wrong.
pub(crate) fn usage(message: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Usage(message.to_string()))
}

/// An error that the command has told already, line by line, so that only its exit code is left.
#[derive(Debug, thiserror::Error)]
#[error("already reported")]
pub(crate) struct Shown(pub(crate) Exit);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_kind_of_the_error_decides_the_code() {
        let failed = anyhow::anyhow!("the server is gone").context("cannot publish");
        assert_eq!(Exit::failed(&failed), Exit::FAILED);
        let wrong = Err::<(), _>(usage("no such thing"))
            .context("cannot do it")
            .unwrap_err();
        assert_eq!(Exit::failed(&wrong), Exit::USAGE);
        let shown = anyhow::Error::new(Shown(Exit::FAILED));
        assert_eq!(Exit::failed(&shown), Exit::FAILED);
        assert_eq!(Exit::signalled(15).code(), 143);
    }
}

//! Exit codes of commands, and the single place that prints their errors.

use std::process::ExitCode;

use crate::cli::output;
use crate::cli::usage::Usage;

/// The exit code of the process: 0 done, 1 failed, 64 wrong usage or configuration, 128 + n by
/// signal n.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// The command succeeded.
    pub const DONE: Exit = Exit(0);
    /// The command failed.
    pub const FAILED: Exit = Exit(1);
    /// The command line or a configuration file is wrong (`EX_USAGE` of sysexits.h).
    pub const USAGE: Exit = Exit(64);

    /// The exit code for an error. Prints it, here and nowhere else: the whole chain on one line of
    /// standard error, most specific last.
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

    /// The exit code after signal `number`, as shells report it.
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

/// An error that the command has printed already, line by line, so that only its exit code remains.
#[derive(Debug, thiserror::Error)]
#[error("already reported")]
pub(crate) struct Shown(pub(crate) Exit);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::usage::usage;
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

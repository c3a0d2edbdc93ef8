//! Usage errors: wrong arguments or a wrong configuration file.

use std::fmt;

/// A usage error: a wrong argument or a wrong configuration file.
///
/// At any place in an error's chain, it makes the exit code 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Creates a usage error.
pub(crate) fn usage(message: impl fmt::Display) -> anyhow::Error {
    anyhow::Error::new(Usage(message.to_string()))
}

//! Refusals of host calls.
//!
//! Each is counted, reported, and returned to the guest as an error that it can handle.

use std::time::{Duration, Instant};

use super::{AgentContext, Guest, Refused};
use crate::bindings::mistersmith::agent::types::Error;
use mistersmith_core::limits;
use mistersmith_core::permissions::Refusal;
use mistersmith_nats::{Connection, TransportError};

impl AgentContext {
    /// Refuses a call because of a permission or of an argument rule.
    pub(crate) fn refuse(&self, action: &'static str, refusal: Refusal) -> Error {
        let (reason, error): (_, fn(String) -> Error) = match refusal {
            Refusal::TooLarge(reason) => return self.limit(Error::TooLarge(reason)),
            Refusal::Denied(reason) => (reason, Error::Denied),
            Refusal::Invalid(reason) => (reason, Error::Invalid),
        };
        self.counters.refused.add_one();
        if let Some(unreported) = self.rates.report() {
            self.audit.refused(Refused {
                agent: self.agent.clone(),
                plugin: self.plugin.clone(),
                action,
                reason: reason.clone(),
                unreported,
            });
        }
        error(reason)
    }

    /// Refuses a call because of a limit.
    pub(crate) fn limit(&self, error: Error) -> Error {
        self.counters.limited.add_one();
        error
    }

    /// Checks that a payload, value or reply is within the limit.
    pub(crate) fn check_size(&self, what: &str, size: usize) -> Result<(), Error> {
        if size <= self.limits.payload {
            return Ok(());
        }
        Err(self.too_large(what, size))
    }

    /// The error for a payload, value or reply over the limit.
    pub(super) fn too_large(&self, what: &str, size: usize) -> Error {
        let most = self.limits.payload;
        self.limit(Error::TooLarge(format!(
            "the {what} has {size} bytes, and [limits] payload allows {most}"
        )))
    }

    /// Takes one permit from the publish rate. Every [`limits::REFUSALS`]th refusal pauses the
    /// guest for [`limits::RATE_PAUSE`].
    pub(super) async fn take_publish(&self) -> Result<(), Error> {
        if self.rates.publish() {
            return Ok(());
        }
        let refused = self.limit(Error::RateLimited);
        if self.rates.waits_for_rate() {
            // Boxed: otherwise the future of every host function that sends would grow by it.
            Box::pin(tokio::time::sleep(limits::RATE_PAUSE)).await;
        }
        Err(refused)
    }
}

impl Guest {
    /// Waits until the plugin may send so many bytes more; refuses what would wait for too long.
    pub(super) async fn take_bytes(&self, bytes: usize) -> Result<(), Error> {
        let most = limits::BYTES_WAIT;
        match self.context.bytes.reserve(bytes, most) {
            Some(Duration::ZERO) => Ok(()),
            // The call that waits for its turn must not outlast its own limit.
            Some(wait) if self.patience().saturating_duration_since(Instant::now()) > wait => {
                // Boxed, as above.
                Box::pin(tokio::time::sleep(wait)).await;
                Ok(())
            }
            _ => Err(self.context.limit(Error::RateLimited)),
        }
    }

    /// The connection, if it is up.
    pub(super) fn connection(&self) -> Result<&Connection, Error> {
        let connection = self.own_connection()?;
        connection
            .is_connected()
            .then_some(connection)
            .ok_or_else(no_connection)
    }

    /// The connection, up or not: for calls that were admitted, which checked it. Refuses an agent
    /// whose id another host may hold.
    pub(super) fn own_connection(&self) -> Result<&Connection, Error> {
        if !self.context.fence.is_open() {
            return Err(Error::Unavailable(format!(
                "agent `{}` has ended: its id is not this host's any more",
                self.context.agent
            )));
        }
        self.context.connection.as_ref().ok_or_else(no_connection)
    }
}

fn no_connection() -> Error {
    Error::Unavailable("the host has no connection to NATS at the moment".to_owned())
}

impl From<TransportError> for Error {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::NoResponders => Self::NoResponders,
            TransportError::Timeout => Self::Timeout,
            TransportError::Conflict => Self::Conflict,
            TransportError::Unavailable(text) => Self::Unavailable(text),
            TransportError::TooLarge(text) => Self::TooLarge(text),
            TransportError::NotFound(text) => Self::NotFound(text),
            TransportError::Full(text) => Self::Full(text),
            TransportError::Denied(text) => Self::Denied(text),
            TransportError::Invalid(text) => Self::Invalid(text),
            TransportError::Other(text) => Self::Other(text),
        }
    }
}

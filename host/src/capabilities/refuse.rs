//! Saying no: counts it, reports it, and gives the guest the error it can act on.

use super::{AgentContext, Guest, Refused};
use crate::bindings::mistersmith::agent::types::Error;
use crate::limits;
use crate::permissions::Refusal;
use crate::transport::{Link, TransportError};

impl AgentContext {
    /// A permission or a rule of arguments says no.
    pub(crate) fn refuse(&self, action: &'static str, refusal: Refusal) -> Error {
        let (reason, error): (_, fn(String) -> Error) = match refusal {
            Refusal::TooLarge(reason) => return self.limit(Error::TooLarge(reason)),
            Refusal::Denied(reason) => (reason, Error::Denied),
            Refusal::Invalid(reason) => (reason, Error::Invalid),
        };
        self.counters.refused.add_one();
        if let Some(unreported) = self.meters.report() {
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

    /// A limit says no.
    pub(crate) fn limit(&self, error: Error) -> Error {
        self.counters.limited.add_one();
        error
    }

    /// Is this payload, value or reply within the limit?
    pub(crate) fn check_size(&self, what: &str, size: usize) -> Result<(), Error> {
        if size <= self.limits.payload {
            return Ok(());
        }
        Err(self.too_large(what, size))
    }

    /// This payload, value or reply is over the limit.
    pub(super) fn too_large(&self, what: &str, size: usize) -> Error {
        let most = self.limits.payload;
        self.limit(Error::TooLarge(format!(
            "the {what} has {size} bytes, and [limits] payload allows {most}"
        )))
    }

    /// Takes one from the publish rate. Whoever hears too often that there is none waits for
    /// [`limits::RATE_PAUSE`].
    pub(super) async fn take_publish(&self) -> Result<(), Error> {
        if self.meters.publish() {
            return Ok(());
        }
        let refused = self.limit(Error::RateLimited);
        if self.meters.waits_for_rate() {
            // In a place of its own: every host function that sends would be larger by it.
            Box::pin(tokio::time::sleep(limits::RATE_PAUSE)).await;
        }
        Err(refused)
    }
}

impl Guest {
    /// The connection, if it is up.
    pub(super) fn link(&self) -> Result<&Link, Error> {
        let link = self.own_link()?;
        link.is_connected().then_some(link).ok_or_else(no_link)
    }

    /// The connection, up or not: for what was admitted, which was the moment to look.
    pub(super) fn own_link(&self) -> Result<&Link, Error> {
        self.context.link.as_ref().ok_or_else(no_link)
    }
}

fn no_link() -> Error {
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

//! Detects that a stream has changed, or is another one of the same name.

use std::time::Duration;

use super::info::StreamInfo;
use super::view::StreamView;
use crate::TransportError;
use crate::raw::parse_time;

/// A value that differs when a stream has changed, or is another one of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// When the stream was made, as the server writes it.
    pub created: String,
    messages: u64,
    first: u64,
    last: u64,
    deleted: u64,
}

impl Fingerprint {
    /// The sequence of the newest message that there ever was.
    pub fn last(&self) -> u64 {
        self.last
    }
}

impl From<StreamInfo> for Fingerprint {
    fn from(info: StreamInfo) -> Self {
        Self {
            created: info.created,
            messages: info.state.messages,
            first: info.state.first_seq,
            last: info.state.last_seq,
            deleted: info.state.num_deleted,
        }
    }
}

impl StreamView {
    /// The fingerprint of the stream now.
    pub async fn fingerprint(&self) -> Result<Fingerprint, TransportError> {
        Ok(self.info().await?.into())
    }

    /// When the stream was made, as the server writes it: another one of the same name has another
    /// time.
    pub async fn created(&self) -> Result<String, TransportError> {
        Ok(self.info().await?.created)
    }

    /// How old this stream was when `other` stored its newest message on `subject`: the server's
    /// clock alone counts. None without such a message, or when that was before.
    pub async fn age_at(
        &self,
        other: &Self,
        subject: &str,
    ) -> Result<Option<Duration>, TransportError> {
        let created = known(&self.created().await?)?;
        let Some(newest) = other.newest(subject).await? else {
            return Ok(None);
        };
        Ok(Duration::try_from(known(&newest.stored_at)? - created).ok())
    }
}

fn known(text: &str) -> Result<time::OffsetDateTime, TransportError> {
    parse_time(text)
        .ok_or_else(|| TransportError::Other(format!("JetStream's answer has no time: {text:?}")))
}

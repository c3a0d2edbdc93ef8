//! Arguments for sending a message: payload, headers, timeout.

use std::io::{Read, StdinLock};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;

use crate::cli::usage::usage;
use mistersmith_core::config;
use mistersmith_core::limits::MAX_SUBJECT;
use mistersmith_nats::{Headers, TransportError};

/// The payload and the headers of a message.
#[derive(Debug, clap::Args)]
pub(crate) struct Content {
    /// Payload; "-" reads it from standard input; empty when left out
    payload: Option<String>,
    /// Header, written "Name: value"; may be given several times
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
}

impl Content {
    /// Reads the payload, at most `most` bytes of it.
    pub(crate) async fn payload(&self, most: usize) -> anyhow::Result<Bytes> {
        let payload: Bytes = match self.payload.as_deref() {
            None => Bytes::new(),
            Some("-") => {
                // One byte more than allowed shows that the input is too large.
                let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
                input(move |stdin| {
                    let mut data = Vec::new();
                    stdin.take(limit).read_to_end(&mut data).map(|_| data)
                })
                .await?
                .into()
            }
            Some(text) => text.to_owned().into(),
        };
        if payload.len() > most {
            return Err(usage(format!(
                "the payload is larger than the {most} bytes that the server takes"
            )));
        }
        Ok(payload)
    }

    /// Reads the headers.
    pub(crate) fn headers(&self) -> anyhow::Result<Headers> {
        let mut headers = Headers::new();
        for text in &self.headers {
            let Some((name, value)) = text.split_once(':') else {
                return Err(usage(format!(
                    "{text:?} is no header: write it like \"Content-Type: text/plain\""
                )));
            };
            headers.append(name, value.trim()).map_err(usage)?;
        }
        Ok(headers)
    }
}

/// Reads standard input on a thread of its own: a signal must end the command during the read.
pub(crate) async fn input<T: Send + 'static>(
    read: impl FnOnce(StdinLock<'static>) -> std::io::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(|| read(std::io::stdin().lock()))
        .await?
        .context("cannot read from standard input")
}

/// Parses a duration in the format of the configuration files: `500ms`, `5s`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| format!("{text:?} is no duration; write it like \"5s\""))
}

/// Refuses a subject that exceeds the length limit, before connecting. A server would accept it,
/// and no host could handle the message: its replies and dead letters would have still longer
/// subjects.
pub(crate) fn check_length(subject: &str) -> anyhow::Result<()> {
    let bytes = subject.len();
    if bytes > MAX_SUBJECT {
        return Err(usage(format!(
            "the subject has {bytes} bytes; at most {MAX_SUBJECT} are allowed"
        )));
    }
    Ok(())
}

/// Converts a transport error into a command's error: an invalid request becomes wrong usage.
pub(crate) fn command_error(error: TransportError) -> anyhow::Error {
    match error {
        TransportError::Invalid(text) => usage(text),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::exit::Exit;

    fn content(payload: Option<&str>, headers: &[&str]) -> Content {
        Content {
            payload: payload.map(str::to_owned),
            headers: headers.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn headers_are_read_or_refused() {
        let headers = content(None, &["X-A: 1", "X-A:2", "Content-Type: a: b"]);
        let headers = headers.headers().unwrap();
        assert_eq!(headers.len(), 3);
        assert_eq!(headers.get("content-type"), Some("a: b"));
        for wrong in ["X-A", "X A: 1", ": 1", "X-A: 1\r\nNats-Rollup: all"] {
            let error = content(None, &[wrong]).headers().unwrap_err();
            assert_eq!(Exit::failed(&error), Exit::USAGE, "{wrong:?}");
        }
    }

    #[test]
    fn a_subject_has_a_limit() {
        assert!(check_length(&"a".repeat(255)).is_ok());
        let error = check_length(&"a".repeat(256)).unwrap_err();
        assert_eq!(Exit::failed(&error), Exit::USAGE);
    }

    #[tokio::test]
    async fn a_payload_has_a_limit() {
        assert_eq!(content(None, &[]).payload(0).await.unwrap(), Bytes::new());
        let four = content(Some("four"), &[]);
        assert_eq!(four.payload(4).await.unwrap(), "four");
        assert!(four.payload(3).await.is_err());
    }
}

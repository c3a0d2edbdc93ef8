//! The server's clock, which decides the age of stored messages.
//!
//! A time that the server has written is compared with the server's clock alone. The clock of this
//! machine can be wrong by hours or years: a purge would remove young messages, a warning would
//! name 40,000 %, and a deadline would pass at once or never.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use time::OffsetDateTime;

use super::raw::parse_time;
use super::stream::StreamInfo;
use super::{Connection, StreamView, TransportError};

/// A bucket in which every host writes every few seconds.
const OFTEN_WRITTEN: &str = "KV_AGENT_LEASES";

/// The time of the server, from when it was last asked. Cheap to clone; the clones share it.
///
/// Until the server was asked it is the time of this machine. Between two answers it goes by the
/// monotonic clock, which no correction of the wall clock moves.
#[derive(Debug, Clone)]
pub struct ServerClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    begun: Instant,
    /// The server's time at `begun`, in nanoseconds since 1970; 0 when it is not known.
    at_begin: AtomicI64,
}

impl Default for ServerClock {
    fn default() -> Self {
        Self(Arc::new(Shared {
            begun: Instant::now(),
            at_begin: AtomicI64::new(0),
        }))
    }
}

impl ServerClock {
    /// The time now.
    pub fn now(&self) -> OffsetDateTime {
        match self.0.at_begin.load(Ordering::Relaxed) {
            0 => OffsetDateTime::now_utc(),
            begin => {
                let begin = OffsetDateTime::from_unix_timestamp_nanos(i128::from(begin));
                let begin = begin.unwrap_or(OffsetDateTime::UNIX_EPOCH);
                let passed = self.0.begun.elapsed().try_into();
                begin.saturating_add(passed.unwrap_or(time::Duration::MAX))
            }
        }
    }

    /// How long ago the server stored something, `stored` in nanoseconds since 1970.
    pub fn since(&self, stored: u64) -> Duration {
        let passed = self.now().unix_timestamp_nanos() - i128::from(stored);
        Duration::from_nanos(u64::try_from(passed).unwrap_or_default())
    }

    /// Sets the clock to the server's time.
    pub(crate) fn set(&self, now: OffsetDateTime) {
        let passed = i128::try_from(self.0.begun.elapsed().as_nanos()).unwrap_or_default();
        let begin = i64::try_from(now.unix_timestamp_nanos() - passed).unwrap_or_default();
        self.0.at_begin.store(begin, Ordering::Relaxed);
    }

    /// Asks the server. When the server cannot answer, the clock goes on as before.
    ///
    /// # Errors
    /// As [`Connection::server_time`].
    pub async fn ask(&self, connection: &Connection) -> Result<(), TransportError> {
        if let Some(now) = connection.server_time().await? {
            self.set(now);
        }
        Ok(())
    }
}

impl StreamView {
    /// The time of the server when it answered. A server before 2.10 does not say it: then the time
    /// at which it stored the newest message of the stream, which is not later. None when there was
    /// never one.
    pub async fn server_time(&self) -> Result<Option<OffsetDateTime>, TransportError> {
        let StreamInfo { ts, state, .. } = self.info().await?;
        let newest = (state.last_seq > 0).then_some(state.last_ts);
        let read = |text: String| parse_time(&text);
        Ok(ts.and_then(read).or_else(|| newest.and_then(read)))
    }
}

impl Connection {
    /// The time of the server; of one before 2.10 while a host runs, exact to the five seconds at
    /// which hosts renew their leases. None when it is not known.
    pub async fn server_time(&self) -> Result<Option<OffsetDateTime>, TransportError> {
        match self.stream(OFTEN_WRITTEN)?.server_time().await {
            Err(TransportError::NotFound(_)) => Ok(None),
            told => told,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Connect as _, TestServer};
    use crate::{Headers, Role};

    #[test]
    fn it_goes_on_from_what_the_server_said() {
        let clock = ServerClock::default();
        let ours = OffsetDateTime::now_utc();
        assert!((clock.now() - ours).abs() < time::Duration::MINUTE);
        // A machine that is 400 days ahead of the server.
        let server = ours - time::Duration::days(400);
        clock.clone().set(server);
        let ahead = clock.now() - server;
        assert!((time::Duration::ZERO..time::Duration::MINUTE).contains(&ahead));
        let stored = |at: OffsetDateTime| u64::try_from(at.unix_timestamp_nanos()).unwrap();
        let hour = clock.since(stored(server - time::Duration::HOUR));
        assert_eq!(hour.as_secs() / 60, 60);
        assert_eq!(clock.since(stored(ours)), Duration::ZERO);
    }

    #[tokio::test]
    async fn the_server_tells_its_time() {
        let server = TestServer::start().await;
        let transport = server.connect().await;
        let connection = transport.connection(Role::Control);
        assert_eq!(connection.server_time().await.unwrap(), None);
        let clock = ServerClock::default();
        clock.ask(connection).await.unwrap();
        assert_eq!(clock.0.at_begin.load(Ordering::Relaxed), 0);
        let config = json!({"name": OFTEN_WRITTEN, "subjects": ["$KV.AGENT_LEASES.>"]});
        let call = format!("STREAM.CREATE.{OFTEN_WRITTEN}");
        connection.call::<Value>(&call, &config).await.unwrap();
        connection
            .store("$KV.AGENT_LEASES.host.h", "h", Headers::new(), Bytes::new())
            .await
            .unwrap();
        clock.set(OffsetDateTime::now_utc() + time::Duration::days(400));
        clock.ask(connection).await.unwrap();
        // The server of this test has the clock of this machine.
        let apart = clock.now() - OffsetDateTime::now_utc();
        assert!(apart.abs() < time::Duration::MINUTE, "{apart}");
    }
}

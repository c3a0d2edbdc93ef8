//! The port of `share`: the key of a circuit's record, and the publisher of its events.

use mistersmith_nats::{Connection, Kv, RequestId, Trace, Watch};

use crate::kv_key::{KeyPort, KvKey};

/// The key of a circuit with its changes, and a publisher of events.
pub(super) trait CircuitStore: Send + Sync {
    /// The key of the record.
    type Key: KeyPort;

    /// The key of the record.
    fn key(&self) -> &Self::Key;

    /// Starts to receive changes, if not started yet; called before the record is read.
    fn listen(&mut self) -> impl Future<Output = ()> + Send;

    /// Resolves when the record may have changed; pending for as long as changes are not received.
    /// Cancel safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send;

    /// Publishes an event at once, or drops it.
    fn publish(&self, subject: &str, body: String) -> impl Future<Output = ()> + Send;
}

/// A key of CIRCUITS on the server.
pub(super) struct ServerStore {
    kv: Kv,
    service: String,
    key: KvKey,
    connection: Connection,
    watch: Option<Watch>,
}

impl ServerStore {
    pub(super) fn new(kv: Kv, service: &str, connection: Connection) -> Self {
        Self {
            key: KvKey::new(kv.clone(), service),
            service: service.to_owned(),
            kv,
            connection,
            watch: None,
        }
    }
}

impl CircuitStore for ServerStore {
    type Key = KvKey;

    fn key(&self) -> &KvKey {
        &self.key
    }

    async fn listen(&mut self) {
        if self.watch.is_none() {
            self.watch = self.kv.watch(&self.service).await.ok();
        }
    }

    async fn changed(&mut self) {
        let Some(watch) = &mut self.watch else {
            return std::future::pending().await;
        };
        // The value is read again in any case.
        if !matches!(watch.next().await, Some(Ok(_))) {
            self.watch = None;
        }
    }

    async fn publish(&self, subject: &str, body: String) {
        let headers = Trace::begin(RequestId::new()).stamped_json(None);
        let sent = self
            .connection
            .publish(subject, None, headers, body.into())
            .await;
        if let Err(error) = sent {
            tracing::debug!(%error, subject, "circuit event not sent");
        }
    }
}

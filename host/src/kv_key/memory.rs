//! A bucket in memory for tests in paused time, with values that expire and answers that get lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;

use mistersmith_nats::{Entry, TransportError};

use super::KeyPort;

/// The fault of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The call takes the first time to reach the server, its answer the second to return.
    Slow(Duration, Duration),
    /// The call does not reach the server; the caller gets an error after this time.
    Lost(Duration),
    /// The call is executed; the caller gets an error after this time.
    AnswerLost(Duration),
    /// The call is executed; no answer ever arrives.
    DoneInSilence,
    /// The call is not executed; no answer ever arrives.
    Silence,
}

/// The kind of a call that the server received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Create,
    Update,
    Delete,
}

/// A bucket, shared by all clones.
#[derive(Debug, Clone)]
pub(crate) struct Bucket(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    ttl: Duration,
    revision: u64,
    keys: BTreeMap<String, (Entry, Instant)>,
    /// The number of times the bucket was created.
    made: u64,
    missing: bool,
    /// The number of writes.
    changes: watch::Sender<u64>,
}

/// One client of one key. Clones share their faults and calls.
#[derive(Debug, Clone)]
pub(crate) struct MemoryKey {
    bucket: Bucket,
    key: String,
    way: Arc<Mutex<Way>>,
}

#[derive(Debug, Default)]
struct Way {
    /// The faults of the next calls.
    faults: VecDeque<Option<Fault>>,
    /// The fault of all writes after those.
    writes: Option<Fault>,
    /// The fault of all other calls after those.
    always: Option<Fault>,
    calls: Vec<(Instant, Call)>,
}

impl Bucket {
    /// A bucket whose values expire after `ttl`.
    pub(crate) fn new(ttl: Duration) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            ttl,
            revision: 0,
            keys: BTreeMap::new(),
            made: 1,
            missing: false,
            changes: watch::channel(0).0,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        let mut inner = self.0.lock();
        let (now, ttl) = (Instant::now(), inner.ttl);
        inner
            .keys
            .retain(|_, (_, stored)| now.duration_since(*stored) < ttl);
        inner
    }

    /// A client of this key.
    pub(crate) fn key(&self, key: &str) -> MemoryKey {
        MemoryKey {
            bucket: self.clone(),
            key: key.to_owned(),
            way: Arc::default(),
        }
    }

    /// The newest value of a key.
    pub(crate) fn newest(&self, key: &str) -> Option<Entry> {
        self.inner().keys.get(key).map(|(entry, _)| entry.clone())
    }

    /// Writes a value unconditionally.
    pub(crate) fn put(&self, key: &str, value: impl Into<Bytes>) -> u64 {
        self.inner().put(key, value.into())
    }

    /// Deletes a value unconditionally.
    pub(crate) fn remove(&self, key: &str) {
        let mut inner = self.inner();
        inner.keys.remove(key);
        inner.changed();
    }

    /// Changes with every write to the bucket.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.inner().changes.subscribe()
    }

    /// Loses the bucket: calls fail until it is created again.
    pub(crate) fn lose(&self) {
        self.inner().missing = true;
    }

    /// Creates the bucket again, empty, with revisions from one.
    pub(crate) fn remake(&self) {
        let mut inner = self.inner();
        inner.keys.clear();
        inner.revision = 0;
        inner.made += 1;
        inner.missing = false;
        inner.changed();
    }

    /// The creation time, which distinguishes buckets of one name.
    pub(crate) fn made(&self) -> Result<String, TransportError> {
        let inner = self.inner();
        inner.there()?;
        Ok(inner.made.to_string())
    }
}

impl Inner {
    fn there(&self) -> Result<(), TransportError> {
        match self.missing {
            true => Err(TransportError::NotFound("there is no bucket".to_owned())),
            false => Ok(()),
        }
    }

    fn put(&mut self, key: &str, value: Bytes) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        let entry = Entry { value, revision };
        self.keys.insert(key.to_owned(), (entry, Instant::now()));
        self.changed();
        revision
    }

    fn write_if(&mut self, key: &str, value: Bytes, revision: u64) -> Result<u64, TransportError> {
        self.expect(key, revision)?;
        Ok(self.put(key, value))
    }

    fn delete_if(&mut self, key: &str, revision: u64) -> Result<(), TransportError> {
        self.expect(key, revision)?;
        self.revision += 1;
        self.keys.remove(key);
        self.changed();
        Ok(())
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn expect(&self, key: &str, revision: u64) -> Result<(), TransportError> {
        self.there()?;
        let newest = self.keys.get(key).map_or(0, |(entry, _)| entry.revision);
        if newest == revision {
            Ok(())
        } else {
            Err(TransportError::Conflict)
        }
    }
}

impl MemoryKey {
    /// The bucket.
    pub(crate) fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Sets the fault of the next call that has none assigned yet; `None` means no fault.
    pub(crate) fn next(&self, fault: impl Into<Option<Fault>>) {
        self.way.lock().faults.push_back(fault.into());
    }

    /// Sets the fault of all further writes.
    pub(crate) fn writes(&self, fault: impl Into<Option<Fault>>) {
        self.way.lock().writes = fault.into();
    }

    /// Sets the fault of all further calls.
    pub(crate) fn always(&self, fault: impl Into<Option<Fault>>) {
        self.way.lock().always = fault.into();
    }

    /// The times at which calls of this kind were sent.
    pub(crate) fn calls(&self, of: Call) -> Vec<Instant> {
        let way = self.way.lock();
        let calls = way.calls.iter().filter(|(_, call)| *call == of);
        calls.map(|(at, _)| *at).collect()
    }

    async fn call<T: Send + 'static>(
        &self,
        call: Call,
        done: impl FnOnce(&mut Inner, &str) -> Result<T, TransportError> + Send + 'static,
    ) -> Result<T, TransportError> {
        let fault = {
            let mut way = self.way.lock();
            way.calls.push((Instant::now(), call));
            let writes = way.writes.filter(|_| call != Call::Read);
            let always = writes.or(way.always);
            way.faults.pop_front().unwrap_or(always)
        };
        let (bucket, key) = (self.bucket.clone(), self.key.clone());
        let at_server = move || done(&mut bucket.inner(), &key);
        match fault {
            None => at_server(),
            Some(Fault::Slow(there, back)) => {
                // A call in flight arrives even if its sender has stopped waiting.
                let on_its_way = tokio::spawn(async move {
                    tokio::time::sleep(there).await;
                    let answer = at_server();
                    tokio::time::sleep(back).await;
                    answer
                });
                on_its_way.await.unwrap_or(Err(TransportError::Timeout))
            }
            Some(Fault::Lost(after)) => {
                tokio::time::sleep(after).await;
                Err(TransportError::Unavailable("no connection".to_owned()))
            }
            Some(Fault::AnswerLost(after)) => {
                let _ = at_server();
                tokio::time::sleep(after).await;
                Err(TransportError::Timeout)
            }
            Some(Fault::DoneInSilence) => {
                let _ = at_server();
                std::future::pending().await
            }
            Some(Fault::Silence) => std::future::pending().await,
        }
    }
}

impl KeyPort for MemoryKey {
    async fn read(&self) -> Result<Option<Entry>, TransportError> {
        let read = |inner: &mut Inner, key: &str| {
            inner.there()?;
            Ok(inner.keys.get(key).map(|(entry, _)| entry.clone()))
        };
        self.call(Call::Read, read).await
    }

    async fn create(&self, value: Bytes) -> Result<u64, TransportError> {
        let create = |inner: &mut Inner, key: &str| inner.write_if(key, value, 0);
        self.call(Call::Create, create).await
    }

    async fn update(&self, value: Bytes, revision: u64) -> Result<u64, TransportError> {
        let update = move |inner: &mut Inner, key: &str| inner.write_if(key, value, revision);
        self.call(Call::Update, update).await
    }

    async fn delete(&self, revision: u64) -> Result<(), TransportError> {
        let delete = move |inner: &mut Inner, key: &str| inner.delete_if(key, revision);
        self.call(Call::Delete, delete).await
    }
}

//! `kv`: buckets, key by key as granted.
//!
//! The guest names buckets and keys, never the streams and subjects behind them.

use std::future::Future;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::Guest;
use crate::bindings::mistersmith::agent::kv::{self, Entry, Error};
use mistersmith_core::limits::KEYS_PER_MESSAGE;
use mistersmith_core::permissions::Access;
use mistersmith_nats::within;
use mistersmith_nats::{Kv, TransportError};

impl kv::Host for Guest {
    async fn get(&mut self, bucket: String, key: String) -> Result<Option<Entry>, Error> {
        self.permit("kv.get", &bucket, &key, Access::Read)?;
        let kv = self.bucket(&bucket).await?;
        let Some(found) = self.wait(kv.get(&key)).await? else {
            return Ok(None);
        };
        self.context.check_size("value", found.value.len())?;
        Ok(Some(Entry {
            value: found.value.into(),
            revision: found.revision,
        }))
    }

    async fn put(&mut self, bucket: String, key: String, value: Vec<u8>) -> Result<u64, Error> {
        let kv = self.writable("kv.put", &bucket, &key, &value).await?;
        self.wait(kv.put(&key, Bytes::from(value))).await
    }

    async fn create(&mut self, bucket: String, key: String, value: Vec<u8>) -> Result<u64, Error> {
        let kv = self.writable("kv.create", &bucket, &key, &value).await?;
        self.wait(kv.create(&key, Bytes::from(value))).await
    }

    async fn update(
        &mut self,
        bucket: String,
        key: String,
        value: Vec<u8>,
        revision: u64,
    ) -> Result<u64, Error> {
        let kv = self.writable("kv.update", &bucket, &key, &value).await?;
        self.wait(kv.update(&key, Bytes::from(value), revision))
            .await
    }

    async fn delete(
        &mut self,
        bucket: String,
        key: String,
        revision: Option<u64>,
    ) -> Result<(), Error> {
        let kv = self.writable("kv.delete", &bucket, &key, &[]).await?;
        self.wait(kv.delete(&key, revision)).await
    }

    async fn keys(&mut self, bucket: String, pattern: String) -> Result<Vec<String>, Error> {
        let allowed = self.context.permissions.kv_keys(&bucket, &pattern);
        allowed.map_err(|refusal| self.context.refuse("kv.keys", refusal))?;
        self.connection()?;
        self.context.take_publish().await?;
        let kv = self.bucket(&bucket).await?;
        let most = self.context.limits.keys;
        let listed = self.wait(kv.keys(&pattern, most)).await;
        // A listing makes the server walk the bucket: it costs by what was walked.
        let walked = listed.as_ref().map_or(most, Vec::len);
        self.context.rates.charge(walked / KEYS_PER_MESSAGE);
        listed
    }
}

impl Guest {
    fn permit(
        &self,
        action: &'static str,
        bucket: &str,
        key: &str,
        access: Access,
    ) -> Result<(), Error> {
        let allowed = self.context.permissions.kv(bucket, key, access);
        allowed.map_err(|refusal| self.context.refuse(action, refusal))
    }

    /// Checks a write, and returns the bucket to write to.
    async fn writable(
        &self,
        action: &'static str,
        bucket: &str,
        key: &str,
        value: &[u8],
    ) -> Result<Kv, Error> {
        self.permit(action, bucket, key, Access::Write)?;
        self.context.check_size("value", value.len())?;
        self.connection()?;
        self.context.take_publish().await?;
        self.take_bytes(value.len()).await?;
        self.bucket(bucket).await
    }

    /// A bucket that was granted.
    pub(super) async fn bucket(&self, bucket: &str) -> Result<Kv, Error> {
        self.wait(self.connection()?.kv(bucket)).await
    }

    /// Waits for NATS, and leaves the guest time to handle an error.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, TransportError>>,
    ) -> impl Future<Output = Result<T, Error>> {
        within(self.patience(), answer).map(|answer| Ok(answer.ok_or(Error::Timeout)??))
    }
}

//! `kv`: buckets, key by key as granted.
//!
//! The guest names buckets and keys, never the streams and subjects behind them.

use std::future::Future;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::Guest;
use crate::bindings::mistersmith::agent::kv::{self, Entry, Error};
use crate::permissions::Access;
use crate::transport::within;
use crate::transport::{Kv, TransportError};

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
        self.link()?;
        // A listing makes the server walk the bucket: it costs like a write.
        self.context.take_publish().await?;
        let kv = self.bucket(&bucket).await?;
        self.wait(kv.keys(&pattern, self.context.limits.keys)).await
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

    /// Everything that can refuse a write before it leaves, and the bucket to write to.
    async fn writable(
        &self,
        action: &'static str,
        bucket: &str,
        key: &str,
        value: &[u8],
    ) -> Result<Kv, Error> {
        self.permit(action, bucket, key, Access::Write)?;
        self.context.check_size("value", value.len())?;
        self.link()?;
        self.context.take_publish().await?;
        self.bucket(bucket).await
    }

    /// A bucket that was granted.
    pub(super) async fn bucket(&self, bucket: &str) -> Result<Kv, Error> {
        self.wait(self.link()?.kv(bucket)).await
    }

    /// Waits for NATS, but not so long that the guest cannot hear of it.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, TransportError>>,
    ) -> impl Future<Output = Result<T, Error>> {
        within(self.patience(), answer).map(|answer| Ok(answer.ok_or(Error::Timeout)??))
    }
}

//! Recreates the consumers that this host claims and that are gone, with their records.
//!
//! Hosts delete no consumer that a living host claims. A person can, and so can a host that stood
//! still in the middle of retiring one; and a consumer is lost with its stream, a record with its
//! bucket. Every pull from a lost consumer would end in an error.

use super::ConsumerClaims;
use super::living::Living;
use crate::provision::consumers::{self, Consumer};
use mistersmith_core::names::PluginName;

impl ConsumerClaims {
    pub(super) async fn restore(&self, living: &Living) -> anyhow::Result<()> {
        let _turn = self.turn.lock().await;
        let mut failed = None;
        for (plugin, claimed) in self.held.all() {
            for consumer in claimed {
                // One failure does not keep the others from being restored.
                if let Err(error) = self.restore_one(&plugin, &consumer, living).await {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn restore_one(
        &self,
        plugin: &PluginName,
        consumer: &Consumer,
        living: &Living,
    ) -> anyhow::Result<()> {
        let name = &consumer.durable;
        let found = self.record_of(name).await?;
        let ours = found.is_some_and(|(record, _)| {
            let retiring = record.retiring;
            record.plugin == plugin.as_str()
                && record.hosts.contains(self.host.as_str())
                && !retiring
        });
        if !ours {
            self.record(plugin, consumer, living).await?;
            tracing::info!(consumer = %name, %plugin, "record of a consumer is missing; writing it again");
        }
        if consumers::state(&self.connection, name).await?.is_none() {
            tracing::warn!(consumer = %name, %plugin, "consumer is missing; recreating it");
            self.make(plugin, consumer, living).await?;
        }
        Ok(())
    }
}

//! The subscriptions of a plugin on this host: `[[subscribe]]`, and the questions of `[scatter]`.

use anyhow::Context;
use futures_util::future::join_all;

use crate::scatter::QUESTIONS;
use crate::subscribe::{BatchRule, Listener, MessageKind, Rules, SharedRules};
use mistersmith_core::config::{PluginSpec, Schema, SubscribeSpec};
use mistersmith_nats::Connection;

use super::{FeedTask, RunningPlugin};

/// An active subscription.
pub(super) struct Listening {
    wanted: Wanted,
    connection: Connection,
    rules: SharedRules,
    pub(super) running: FeedTask,
}

/// The key of a subscription: a different key is a different subscription.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    subject: String,
    queue: Option<String>,
    kind: MessageKind,
}

impl RunningPlugin {
    /// Changes the subscriptions to those of the running revision. One that stays is not touched,
    /// so that no message is missed or received twice.
    pub(super) async fn listen(&mut self) -> anyhow::Result<()> {
        let spec = self.revision.spec.clone();
        let mut before = std::mem::take(&mut self.listeners);
        for (wanted, rules) in self.wanted(&spec) {
            let same = |l: &Listening| {
                l.wanted == wanted && l.connection.is_same(&self.revision.connection)
            };
            if let Some(at) = before.iter().position(same) {
                let listening = before.swap_remove(at);
                listening.rules.replace(rules);
                self.listeners.push(listening);
            } else {
                let listening = self.subscribe(wanted, rules).await?;
                self.listeners.push(listening);
            }
        }
        join_all(before.into_iter().map(|listening| listening.running.stop())).await;
        Ok(())
    }

    /// All subscriptions of a revision, each with the rules for what is let through.
    fn wanted(&self, spec: &PluginSpec) -> Vec<(Wanted, Rules)> {
        let subscription = |subscribe: &SubscribeSpec| {
            let batch = subscribe.batch;
            let batch = batch.map(|batch| BatchRule::new(batch, spec.limits.memory));
            let wanted = Wanted {
                subject: subscribe.subject.as_str().to_owned(),
                queue: subscribe.queue.clone(),
                kind: MessageKind::Messages,
            };
            (wanted, self.rules(subscribe.schema.clone(), batch))
        };
        let questions = spec.scatter.iter().map(|scatter| {
            let wanted = Wanted {
                subject: QUESTIONS.to_owned(),
                queue: scatter.group.clone(),
                kind: MessageKind::Questions,
            };
            (wanted, self.rules(scatter.schema.clone(), None))
        });
        spec.subscribe
            .iter()
            .map(subscription)
            .chain(questions)
            .collect()
    }

    async fn subscribe(&self, wanted: Wanted, rules: Rules) -> anyhow::Result<Listening> {
        let name = &self.revision.spec.name;
        let rules = SharedRules::new(rules);
        let listener = Listener {
            plugin: name.clone(),
            connection: self.revision.connection.clone(),
            directory: self.shared.directory.clone(),
            plugin_queue: self.plugin_queue.clone(),
            rules: rules.clone(),
            kind: wanted.kind,
        };
        let cancel = self.shared.draining.child_token();
        let subject = &wanted.subject;
        let task = listener
            .listen(subject, wanted.queue.as_deref(), cancel.clone())
            .await
            .with_context(|| format!("plugin `{name}` cannot subscribe to `{subject}`"))?;
        Ok(Listening {
            wanted,
            connection: self.revision.connection.clone(),
            rules,
            running: FeedTask {
                cancel,
                task: Some(task),
            },
        })
    }

    fn rules(&self, schema: Option<Schema>, batch: Option<BatchRule>) -> Rules {
        Rules {
            permissions: self.revision.permissions.common(),
            payload: self.revision.spec.limits.payload,
            schema,
            batch,
        }
    }
}

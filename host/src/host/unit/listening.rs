//! The subscriptions of a plugin's manifest.

use anyhow::Context;
use futures_util::future::join_all;

use crate::config::SubscribeSpec;
use crate::patterns::subscribe::{BatchRule, Listener, Rules, SharedRules};

use super::{Listening, Running, Unit};

impl Unit {
    /// Makes the subscriptions those of the version that runs. One that stays is not touched, so
    /// that nothing is missed or heard twice.
    pub(super) async fn listen(&mut self) -> anyhow::Result<()> {
        let spec = self.version.spec.clone();
        let mut before = std::mem::take(&mut self.listeners);
        for subscribe in &spec.subscribe {
            let rules = self.rules(subscribe);
            let same = |l: &Listening| {
                l.subject == subscribe.subject
                    && l.queue == subscribe.queue
                    && l.link.is_same(&self.version.link)
            };
            if let Some(at) = before.iter().position(same) {
                let listening = before.swap_remove(at);
                listening.rules.replace(rules);
                self.listeners.push(listening);
            } else {
                let listening = self.subscribe(subscribe, rules).await?;
                self.listeners.push(listening);
            }
        }
        join_all(before.into_iter().map(|listening| listening.running.stop())).await;
        Ok(())
    }

    async fn subscribe(
        &self,
        subscribe: &SubscribeSpec,
        rules: Rules,
    ) -> anyhow::Result<Listening> {
        let name = &self.version.spec.name;
        let rules = SharedRules::new(rules);
        let listener = Listener {
            plugin: name.clone(),
            link: self.version.link.clone(),
            directory: self.shared.directory.clone(),
            crew: self.crew.clone(),
            rules: rules.clone(),
        };
        let cancel = self.shared.draining.child_token();
        let (subject, queue) = (subscribe.subject.clone(), subscribe.queue.clone());
        let task = listener
            .listen(subject.as_str(), queue.as_deref(), cancel.clone())
            .await
            .with_context(|| format!("plugin `{name}` cannot subscribe to `{subject}`"))?;
        Ok(Listening {
            subject,
            queue,
            link: self.version.link.clone(),
            rules,
            running: Running {
                cancel,
                task: Some(task),
            },
        })
    }

    fn rules(&self, subscribe: &SubscribeSpec) -> Rules {
        let spec = &self.version.spec;
        Rules {
            permissions: self.version.permissions.common(),
            payload: spec.limits.payload,
            schema: subscribe.schema.clone(),
            batch: subscribe
                .batch
                .map(|batch| BatchRule::new(batch, spec.limits.memory)),
        }
    }
}

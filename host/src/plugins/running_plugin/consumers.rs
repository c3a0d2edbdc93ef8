//! The consumers that a plugin pulls from: those of its work, and those of its stages' inputs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;

use crate::agents::PluginRevision;
use crate::delivery::RetryRule;
use crate::pipeline::{self, Stage};
use crate::work::{self, QueueContext, Source, WorkConsumer};
use mistersmith_core::config::{StageSpec, WorkSpec};
use mistersmith_nats::Role;
use mistersmith_nats::provision::consumers;

use super::{FeedTask, RunningPlugin};

impl RunningPlugin {
    /// The consumers of a revision's work and stages, created if they are missing.
    pub(super) async fn consumers(
        &self,
        revision: &PluginRevision,
    ) -> anyhow::Result<Vec<WorkConsumer>> {
        let spec = &revision.spec;
        let consumers = &self.shared.consumers;
        let claimed = consumers.claim(&spec.name, &spec.work, &spec.pipeline);
        claimed
            .await
            .with_context(|| format!("the work of plugin `{}` cannot be taken", spec.name))?;
        let items = spec.work.iter().flat_map(consumers_of_work);
        let stages = spec.pipeline.iter();
        let stages = stages.map(|stage| self.consumer_of_stage(stage, spec.limits.payload));
        Ok(items.chain(stages).collect())
    }

    fn consumer_of_stage(&self, stage: &StageSpec, payload: usize) -> WorkConsumer {
        let shared = &self.shared;
        let consumer = consumers::of_stage(stage);
        WorkConsumer {
            stream: consumer.stream,
            durable: consumer.durable,
            source: Source::Stage(Arc::new(Stage {
                spec: stage.clone(),
                records: shared.kv.pipelines.clone(),
                connection: shared.transport.connection(Role::Work).clone(),
                clock: shared.clock.clone(),
                payload,
            })),
            rule: rule(stage.max_deliver, &stage.backoff),
        }
    }

    /// Starts to pull, and to watch the deadlines of joins.
    pub(super) fn pull(&self, consumers: Vec<WorkConsumer>) -> Option<FeedTask> {
        if consumers.is_empty() {
            return None;
        }
        let shared = &self.shared;
        let context = QueueContext {
            connection: shared.transport.connection(Role::Work).clone(),
            plugin_queue: self.plugin_queue.clone(),
            ack_progress: shared.ack_progress.clone(),
            settler: shared.deps.settler.clone(),
            payloads: shared.payloads.clone(),
            payload: self.revision.spec.limits.payload,
        };
        let cancel = shared.draining.child_token();
        let joining = consumers
            .iter()
            .filter_map(|consumer| match &consumer.source {
                Source::Stage(stage) if stage.spec.join.is_some() => Some(stage.clone()),
                _ => None,
            });
        let deadlines = joining.map(|stage| pipeline::watch(stage, cancel.clone()));
        let deadlines = join_all(deadlines.collect::<Vec<_>>());
        let pulling = work::pull(context, consumers, cancel.clone());
        Some(FeedTask {
            task: Some(tokio::spawn(async move {
                tokio::join!(pulling, deadlines);
            })),
            cancel,
        })
    }
}

fn consumers_of_work(work: &WorkSpec) -> Vec<WorkConsumer> {
    let rule = rule(work.max_deliver, &work.backoff);
    let consumer = |consumer: consumers::Consumer| WorkConsumer {
        stream: consumer.stream,
        durable: consumer.durable,
        source: Source::Work {
            priority: consumer.priority,
            schema: work.schema.clone(),
        },
        rule: rule.clone(),
    };
    consumers::of(work).into_iter().map(consumer).collect()
}

fn rule(max_deliver: u32, backoff: &[Duration]) -> Arc<RetryRule> {
    let backoff = backoff.to_vec();
    Arc::new(RetryRule {
        max_deliver,
        backoff,
    })
}

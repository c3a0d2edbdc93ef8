//! What a plugin pulls: its work, and the inputs of its stages.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;

use crate::agent::Version;
use crate::config::{StageSpec, WorkSpec};
use crate::patterns::delivery::RetryRule;
use crate::patterns::pipeline::{self, Stage};
use crate::patterns::work_queue::{Feed, Lane, Source, WorkQueue};
use crate::provision::consumers;
use crate::transport::Role;

use super::{Running, Unit};

impl Unit {
    /// The consumers of a version's work and stages, made if they are missing.
    pub(super) async fn lanes(&self, version: &Version) -> anyhow::Result<Vec<Lane>> {
        let spec = &version.spec;
        let consumers = &self.shared.consumers;
        let claimed = consumers.claim(&spec.name, &spec.work, &spec.pipeline);
        claimed
            .await
            .with_context(|| format!("the work of plugin `{}` cannot be taken", spec.name))?;
        let work = spec.work.iter().flat_map(lanes_of_work);
        let stages = spec.pipeline.iter();
        let stages = stages.map(|stage| self.lane_of_stage(stage, spec.limits.payload));
        Ok(work.chain(stages).collect())
    }

    fn lane_of_stage(&self, stage: &StageSpec, payload: usize) -> Lane {
        let shared = &self.shared;
        let consumer = consumers::of_stage(stage);
        Lane {
            stream: consumer.stream,
            durable: consumer.durable,
            source: Source::Stage(Arc::new(Stage {
                spec: stage.clone(),
                records: shared.kv.pipelines.clone(),
                link: shared.transport.link(Role::Work).clone(),
                clock: shared.clock.clone(),
                payload,
            })),
            rule: rule(stage.max_deliver, &stage.backoff),
        }
    }

    /// Starts to pull, and to watch the deadlines of joins.
    pub(super) fn pull(&self, lanes: Vec<Lane>) -> Option<Running> {
        if lanes.is_empty() {
            return None;
        }
        let shared = &self.shared;
        let feed = Feed {
            link: shared.transport.link(Role::Work).clone(),
            crew: self.crew.clone(),
            keeper: shared.keeper.clone(),
            settler: shared.around.settler.clone(),
            payload: self.version.spec.limits.payload,
        };
        let cancel = shared.draining.child_token();
        let joining = lanes.iter().filter_map(|lane| match &lane.source {
            Source::Stage(stage) if stage.spec.join.is_some() => Some(stage.clone()),
            _ => None,
        });
        let deadlines = joining.map(|stage| pipeline::watch(stage, cancel.clone()));
        let deadlines = join_all(deadlines.collect::<Vec<_>>());
        let pulling = WorkQueue::new(feed, lanes).run(cancel.clone());
        Some(Running {
            task: Some(tokio::spawn(async move {
                tokio::join!(pulling, deadlines);
            })),
            cancel,
        })
    }
}

fn lanes_of_work(work: &WorkSpec) -> Vec<Lane> {
    let rule = rule(work.max_deliver, &work.backoff);
    let lane = |consumer: consumers::Consumer| Lane {
        stream: consumer.stream,
        durable: consumer.durable,
        source: Source::Work {
            priority: consumer.priority,
            schema: work.schema.clone(),
        },
        rule: rule.clone(),
    };
    consumers::of(work).into_iter().map(lane).collect()
}

fn rule(max_deliver: u32, backoff: &[Duration]) -> Arc<RetryRule> {
    let backoff = backoff.to_vec();
    Arc::new(RetryRule {
        max_deliver,
        backoff,
    })
}

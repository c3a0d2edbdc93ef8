//! Metrics on `metrics.agent.<id>.<metric>` and `metrics.system.<component>.<metric>`: published
//! every few seconds as `{value, unit, at}`.
//!
//! Counters of an agent grow as long as the agent exists, across its instances; times cover the
//! last interval. No plugin is called, and nothing is stored for readers that were not subscribed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::status::{AgentSnapshot, AgentStatus};
use mistersmith_core::names::AgentId;
use mistersmith_core::permissions::reserved::HOST_METRICS;
use mistersmith_nats::{Connection, RequestId, Role, Trace, Transport};

use crate::agents::{AgentHandle, Directory};
use crate::clock::now;
use crate::settle::WorkTimes;

/// The stream whose depth is published.
const WORK_STREAM: &str = "WORK_QUEUE";

/// Everything a reporter needs of the host.
pub struct Reporter {
    /// The connections.
    pub transport: Transport,
    /// The agents.
    pub directory: Directory,
    /// The durations of work items.
    pub times: Arc<WorkTimes>,
    /// The name of the host.
    pub host: String,
}

/// The CPU time of each agent at its last report.
type Computed = HashMap<AgentId, (Instant, u64)>;

impl Reporter {
    /// Publishes metrics until cancelled.
    pub async fn run(self, every: Duration, cancel: CancellationToken) {
        let mut computed = Computed::new();
        let mut clock = tokio::time::interval(every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = clock.tick() => {}
            }
            for handle in self.directory.all() {
                self.report(&handle, &mut computed).await;
                // The connection is shared with messages of plugins, which get their turn in
                // between.
                tokio::task::yield_now().await;
            }
            computed.retain(|id, _| self.directory.contains(id));
            self.report_work().await;
            self.report_connections().await;
        }
    }

    async fn report(&self, handle: &AgentHandle, computed: &mut Computed) {
        let agent = handle.snapshot();
        if agent.status == AgentStatus::Stopped {
            return;
        }
        let counters = &handle.state.counters;
        let (now, total) = (Instant::now(), counters.computed_ns.get());
        let before = computed.insert(handle.id.clone(), (now, total));
        let values = values(
            &agent,
            used(before, (now, total)),
            counters.memory.get(),
            counters.sent.get(),
        );
        for (name, (value, unit)) in HOST_METRICS.into_iter().zip(values) {
            let subject = format!("metrics.agent.{}.{name}", handle.id);
            self.publish(&subject, Some(&handle.id), body(value, unit))
                .await;
        }
    }

    async fn report_work(&self) {
        let depth = match self.connection().stream(WORK_STREAM) {
            Ok(stream) => stream.facts().await.map(|facts| facts.messages),
            Err(error) => Err(error),
        };
        match depth {
            Ok(depth) => {
                self.publish_system("work_queue.depth", body(json!(depth), "messages"))
                    .await
            }
            Err(error) => tracing::debug!(%error, "the depth of the work queue is not known"),
        }
        let failing: BTreeSet<String> = self
            .directory
            .all()
            .iter()
            .flat_map(|handle| handle.plugin_queue.failing_pulls.list().into_keys())
            .collect();
        let failing = body(json!(failing.len()), "consumers");
        self.publish_system("work_queue.failing_pulls", failing)
            .await;
        for (name, times) in self.times.take() {
            self.publish_system(&format!("work_queue.{name}"), times.body())
                .await;
        }
    }

    async fn report_connections(&self) {
        let state = self.transport.state();
        for (name, value) in [
            ("reconnects", state.reconnects),
            ("revivals", state.revivals),
            ("denied_publishes", state.denied_publishes),
        ] {
            self.publish_system(&format!("connections.{name}"), body(json!(value), "count"))
                .await;
        }
    }

    async fn publish_system(&self, name: &str, mut body: Value) {
        if let Some(body) = body.as_object_mut() {
            body.insert("host".into(), json!(self.host));
        }
        self.publish(&format!("metrics.system.{name}"), None, body)
            .await;
    }

    /// The connection for bulk traffic that is not urgent.
    fn connection(&self) -> &Connection {
        self.transport.connection(Role::Bulk)
    }

    async fn publish(&self, subject: &str, agent: Option<&AgentId>, body: Value) {
        let headers = Trace::begin(RequestId::new()).stamped_json(agent);
        let sent = self
            .connection()
            .publish(subject, None, headers, body.to_string().into());
        if let Err(error) = sent.await {
            tracing::debug!(subject, %error, "a metric was not sent");
        }
    }
}

/// The share of one core that was used between two samples.
fn used(before: Option<(Instant, u64)>, now: (Instant, u64)) -> f64 {
    let Some((then, total)) = before else {
        return 0.0;
    };
    let span = now.0.saturating_duration_since(then).as_nanos().max(1);
    // A newly created agent counts from zero.
    now.1.saturating_sub(total) as f64 / span as f64
}

/// The values, in the order of [`HOST_METRICS`].
fn values(agent: &AgentSnapshot, cpu: f64, memory: usize, sent: u64) -> [(Value, &'static str); 6] {
    [
        (json!((cpu * 10_000.0).round() / 10_000.0), "ratio"),
        (json!(memory), "bytes"),
        (json!(agent.handled.saturating_sub(agent.failed)), "count"),
        (json!(agent.failed), "count"),
        (json!(agent.handled), "count"),
        (json!(sent), "count"),
    ]
}

fn body(value: Value, unit: &str) -> Value {
    json!({"value": value, "unit": unit, "at": now()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computing_is_a_part_of_one_core() {
        let then = Instant::now();
        let later = then + Duration::from_secs(10);
        assert!(used(None, (later, 5)).abs() < f64::EPSILON);
        let half = used(Some((then, 1_000_000_000)), (later, 6_000_000_000));
        assert!((half - 0.5).abs() < 1e-9, "{half}");
        let anew = used(Some((then, 1_000_000_000)), (later, 0));
        assert!(anew.abs() < f64::EPSILON, "{anew}");
    }
}

//! `metrics.agent.<id>.<metric>` and `metrics.system.work_queue.<metric>`: what the host measures,
//! published every few seconds as `{value, unit, at}`.
//!
//! Numbers of agents only grow while the agent is there, whatever becomes of its instances; times
//! are those of the last interval. Nothing is asked of a plugin, and nothing is kept for a reader
//! that was not there.

mod spread;
mod times;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::names::AgentId;
use crate::permissions::reserved::HOST_METRICS;
use crate::status::{AgentSnapshot, AgentStatus};
use crate::transport::{Headers, Link, RequestId, Trace};

use super::directory::{AgentPort, Directory};
use super::lifecycle::now;

pub use times::WorkTimes;

/// The stream whose depth is told.
const WORK_STREAM: &str = "WORK_QUEUE";

/// What a reporter needs of the host.
pub struct Reporter {
    /// The connection for what is much and not urgent.
    pub link: Link,
    /// The agents.
    pub directory: Directory,
    /// How long work items took.
    pub times: Arc<WorkTimes>,
    /// The name of the host.
    pub host: String,
}

/// How long an agent had computed when that was last told.
type Computed = HashMap<AgentId, (Instant, u64)>;

impl Reporter {
    /// Reports until cancelled.
    pub async fn run(self, every: Duration, cancel: CancellationToken) {
        let mut computed = Computed::new();
        let mut clock = tokio::time::interval(every);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = clock.tick() => {}
            }
            for port in self.directory.all() {
                self.report(&port, &mut computed).await;
                // The connection is shared with messages of plugins: they get their turn in between.
                tokio::task::yield_now().await;
            }
            computed.retain(|id, _| self.directory.contains(id));
            self.report_work().await;
        }
    }

    async fn report(&self, port: &AgentPort, computed: &mut Computed) {
        let agent = port.snapshot();
        if agent.status == AgentStatus::Stopped {
            return;
        }
        let counters = &port.cell.counters;
        let (now, total) = (Instant::now(), counters.computed_ns.get());
        let before = computed.insert(port.id.clone(), (now, total));
        let values = values(
            &agent,
            used(before, (now, total)),
            counters.memory.get(),
            counters.sent.get(),
        );
        for (name, (value, unit)) in HOST_METRICS.into_iter().zip(values) {
            let subject = format!("metrics.agent.{}.{name}", port.id);
            self.publish(&subject, Some(&port.id), body(value, unit))
                .await;
        }
    }

    async fn report_work(&self) {
        let depth = match self.link.stream(WORK_STREAM) {
            Ok(stream) => stream.facts().await.map(|facts| facts.messages),
            Err(error) => Err(error),
        };
        match depth {
            Ok(depth) => {
                self.publish_work("depth", body(json!(depth), "messages"))
                    .await
            }
            Err(error) => tracing::debug!(%error, "the depth of the work queue is not known"),
        }
        let failing: BTreeSet<String> = self
            .directory
            .all()
            .iter()
            .flat_map(|port| port.crew.failing_pulls.list().into_keys())
            .collect();
        self.publish_work("failing_pulls", body(json!(failing.len()), "consumers"))
            .await;
        for (name, times) in self.times.take() {
            self.publish_work(name, times.body()).await;
        }
    }

    async fn publish_work(&self, name: &str, mut body: Value) {
        if let Some(body) = body.as_object_mut() {
            body.insert("host".into(), json!(self.host));
        }
        self.publish(&format!("metrics.system.work_queue.{name}"), None, body)
            .await;
    }

    async fn publish(&self, subject: &str, agent: Option<&AgentId>, body: Value) {
        let mut headers = Headers::default();
        headers.set("Content-Type", "application/json");
        Trace::begin(RequestId::new()).stamp(agent, &mut headers);
        let sent = self
            .link
            .publish(subject, None, headers, body.to_string().into());
        if let Err(error) = sent.await {
            tracing::debug!(subject, %error, "a metric was not sent");
        }
    }
}

/// The part of one core that was used between two looks.
fn used(before: Option<(Instant, u64)>, now: (Instant, u64)) -> f64 {
    let Some((then, total)) = before else {
        return 0.0;
    };
    let span = now.0.saturating_duration_since(then).as_nanos().max(1);
    // An agent that was created anew counts from zero.
    now.1.saturating_sub(total) as f64 / span as f64
}

/// In the order of [`HOST_METRICS`].
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

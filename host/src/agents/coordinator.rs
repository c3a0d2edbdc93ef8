//! The calls by which an agent coordinates with others: gather answers, read the leader, read a
//! circuit.
//!
//! The runtime has checked permissions and rates before these calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::directory::{Directory, Target};
use crate::scatter;
use mistersmith_core::limits::MAX_GATHERINGS;
use mistersmith_core::names::{AgentId, PluginName};
use mistersmith_nats::{Connection, TransportError};
use mistersmith_runtime::{CircuitState, Coordination, Gathered, Gathering, Leadership, Question};

/// Runs coordination for the agents of this host.
#[derive(Debug, Clone)]
pub struct Coordinator {
    /// Running gatherings. A gathering outlives its agent until every participant has received its
    /// end.
    gatherings: TaskTracker,
    /// Bounds the gatherings. Without a permit the caller waits: while the stream is unreachable,
    /// end reports pile up.
    room: Arc<Semaphore>,
    agents: Directory,
}

impl Coordinator {
    /// A coordinator for the agents of this directory.
    pub fn new(agents: Directory) -> Self {
        Self {
            gatherings: TaskTracker::new(),
            room: Arc::new(Semaphore::new(MAX_GATHERINGS)),
            agents,
        }
    }

    /// Waits until all gatherings of this host have reported their end, at most `most`.
    pub async fn idle(&self, most: Duration) -> bool {
        self.gatherings.close();
        tokio::time::timeout(most, self.gatherings.wait())
            .await
            .is_ok()
    }
}

impl Coordination for Coordinator {
    fn scatter(&self, connection: &Connection, question: Question) -> Gathering {
        let (answer, answered) = oneshot::channel();
        // A task of its own: if the asking call is aborted, the participants still receive the end
        // of the gathering.
        let room = Arc::clone(&self.room);
        self.gatherings
            .spawn(gather(connection.clone(), question, room, answer));
        async move {
            let gone = |_| TransportError::Other("the gathering was given up".to_owned());
            answered.await.map_err(gone)?
        }
        .boxed()
    }

    fn leadership(&self, agent: &AgentId) -> Option<Leadership> {
        let handle = self.agents.get(agent)?;
        // Read at the time of the call: the leadership may have ended since the last notification.
        if let Some(leadership) = handle.state.candidate.leadership(Instant::now()) {
            return Some(Leadership {
                domain: leadership.domain.to_string(),
                leading: true,
                term: leadership.term,
            });
        }
        Some(Leadership {
            domain: handle.plugin_queue.election.domain()?.to_string(),
            leading: false,
            term: handle.plugin_queue.election.newest_term(),
        })
    }

    fn own_circuit(&self, plugin: &PluginName, service: &str) -> Option<CircuitState> {
        let of_plugin = Target::Named(plugin.as_str().to_owned());
        let handle = self.agents.find(&of_plugin).into_iter().next()?;
        handle.plugin_queue.circuit.state_of(service)
    }
}

async fn gather(
    connection: Connection,
    question: Question,
    room: Arc<Semaphore>,
    tell: oneshot::Sender<Result<Gathered, TransportError>>,
) {
    let until = question.until;
    let request = question.request.clone();
    let asked = async {
        let place = room.acquire_owned().await;
        Ok((scatter::ask(&connection, question).await?, place))
    };
    let (asked, _place) = match tokio::time::timeout_at(until.into(), asked).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(error)) => return drop(tell.send(Err(error))),
        Err(_) => return drop(tell.send(Err(TransportError::Timeout))),
    };
    let begun = Instant::now();
    let (gathered, report) = asked.gather(&connection, |_| {}).await;
    tracing::debug!(request, status = ?gathered.status, answers = gathered.answers.len(),
        took_ms = begun.elapsed().as_millis() as u64, "gathered");
    let _ = tell.send(Ok(gathered));
    if let Err(error) = report.store(&connection).await {
        tracing::warn!(request, %error, "the end of a gathering was not published");
    }
}

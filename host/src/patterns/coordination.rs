//! What agents ask of the patterns while they handle a message: questions to many, who leads, how a
//! circuit stands. Permissions and rates were asked before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;

use super::directory::{Directory, Target};
use super::scatter;
use crate::limits::MAX_GATHERINGS;
use crate::names::{AgentId, PluginName};
use crate::runtime::{CircuitState, Coordination, Gathered, Gathering, Leadership, Question};
use crate::transport::{Link, TransportError};

/// Runs coordination for the agents of this host.
#[derive(Debug, Clone)]
pub struct Coordinator {
    /// Gatherings, until everybody has been told how they ended: also of agents that have died since.
    gatherings: TaskTracker,
    /// Room for them. Without one whoever asks waits: where the stream is away, reports pile up.
    room: Arc<Semaphore>,
    agents: Directory,
}

impl Coordinator {
    /// For these agents.
    pub fn new(agents: Directory) -> Self {
        Self {
            gatherings: TaskTracker::new(),
            room: Arc::new(Semaphore::new(MAX_GATHERINGS)),
            agents,
        }
    }

    /// Waits until everybody has been told how the gatherings of this host ended, at most so long.
    pub async fn idle(&self, most: Duration) -> bool {
        self.gatherings.close();
        tokio::time::timeout(most, self.gatherings.wait())
            .await
            .is_ok()
    }
}

impl Coordination for Coordinator {
    fn scatter(&self, link: &Link, question: Question) -> Gathering {
        let (tell, told) = oneshot::channel();
        // A task of its own: when the asking call is ended in the middle, the others that have
        // heard the question are still told how it ended.
        let room = Arc::clone(&self.room);
        self.gatherings
            .spawn(gather(link.clone(), question, room, tell));
        async move {
            let gone = |_| TransportError::Other("the gathering was given up".to_owned());
            told.await.map_err(gone)?
        }
        .boxed()
    }

    fn leadership(&self, agent: &AgentId) -> Option<Leadership> {
        let port = self.agents.get(agent)?;
        // Looked at now: the agent may have stood still since it was told.
        if let Some(office) = port.cell.seat.office(Instant::now()) {
            return Some(Leadership {
                domain: office.domain.to_string(),
                leading: true,
                term: office.term,
            });
        }
        Some(Leadership {
            domain: port.crew.election.domain()?.to_string(),
            leading: false,
            term: port.crew.election.newest_term(),
        })
    }

    fn own_circuit(&self, plugin: &PluginName, service: &str) -> Option<CircuitState> {
        let of_plugin = Target::Named(plugin.as_str().to_owned());
        let port = self.agents.find(&of_plugin).into_iter().next()?;
        port.crew.circuit.state_of(service)
    }
}

async fn gather(
    link: Link,
    question: Question,
    room: Arc<Semaphore>,
    tell: oneshot::Sender<Result<Gathered, TransportError>>,
) {
    let until = question.until;
    let request = question.request.clone();
    let asked = async {
        let place = room.acquire_owned().await;
        Ok((scatter::ask(&link, question).await?, place))
    };
    let (asked, _place) = match tokio::time::timeout_at(until.into(), asked).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(error)) => return drop(tell.send(Err(error))),
        Err(_) => return drop(tell.send(Err(TransportError::Timeout))),
    };
    let begun = Instant::now();
    let (gathered, report) = asked.gather(&link, |_| {}).await;
    tracing::debug!(request, status = ?gathered.status, answers = gathered.answers.len(),
        took_ms = begun.elapsed().as_millis() as u64, "gathered");
    let _ = tell.send(Ok(gathered));
    if let Err(error) = report.store(&link).await {
        tracing::warn!(request, %error, "nobody was told how a gathering ended");
    }
}

//! Bringing one version of a plugin to life, beside everything else that the host does.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::PluginSpec;
use crate::names::AgentId;

use super::Shared;
use super::loading::{self, Problem};
use super::unit::Unit;

/// A plugin that is being loaded or replaced.
pub(super) struct Job {
    stop: CancellationToken,
    task: JoinHandle<Done>,
}

/// What came of a job.
pub(super) struct Done {
    /// What runs now: also after a failure, if something ran before.
    pub(super) unit: Option<Unit>,
    /// What was done, `loaded` or `replaced`, or why not.
    pub(super) result: Result<&'static str, Problem>,
}

impl Job {
    /// Starts the version of this manifest, in place of what runs; where nothing runs, without the
    /// agents in `down`.
    pub(super) fn start(
        shared: Arc<Shared>,
        spec: Arc<PluginSpec>,
        unit: Option<Unit>,
        down: BTreeSet<AgentId>,
    ) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(work(shared, spec, unit, down, stop.clone()));
        Self { stop, task }
    }

    /// Starts again what ended by itself.
    pub(super) fn mend(mut unit: Unit) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let result = tokio::select! {
                result = unit.mend() => result.map_err(Problem::from).map(|()| "mended"),
                () = stopped.cancelled() => Err(interrupted()),
            };
            let unit = Some(unit);
            Done { unit, result }
        });
        Self { stop, task }
    }

    pub(super) fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for its end; cancel safe. To be asked no more when it has answered.
    pub(super) async fn finish(&mut self) -> Done {
        (&mut self.task).await.unwrap_or_else(|error| Done {
            unit: None,
            result: Err(Problem::Passing(format!(
                "the host made a mistake: {error}"
            ))),
        })
    }

    /// Leaves it where it is, so that what runs can be ended.
    pub(super) async fn interrupt(mut self) -> Done {
        self.stop.cancel();
        self.finish().await
    }
}

async fn work(
    shared: Arc<Shared>,
    spec: Arc<PluginSpec>,
    mut unit: Option<Unit>,
    down: BTreeSet<AgentId>,
    stop: CancellationToken,
) -> Done {
    let result = tokio::select! {
        result = bring_up(&shared, spec, &mut unit, down) => result,
        () = stop.cancelled() => Err(interrupted()),
    };
    Done { unit, result }
}

fn interrupted() -> Problem {
    Problem::Passing("interrupted".to_owned())
}

async fn bring_up(
    shared: &Arc<Shared>,
    spec: Arc<PluginSpec>,
    unit: &mut Option<Unit>,
    down: BTreeSet<AgentId>,
) -> Result<&'static str, Problem> {
    let before = unit.as_ref().map(Unit::version);
    let version = loading::load(shared, spec, before).await?;
    if let Some(unit) = unit {
        unit.replace(version).await?;
        return Ok("replaced");
    }
    let fresh = unit.insert(Unit::new(shared.clone(), version, down));
    match fresh.start().await {
        Ok(()) => Ok("loaded"),
        Err(error) => {
            // What was started of it ends with it.
            *unit = None;
            Err(error.into())
        }
    }
}

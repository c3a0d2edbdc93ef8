//! The compiler: machine code from the cache folder, or from a child process that compiles.
//!
//! Nothing is compiled in this process. Compiling is quadratic in the nesting of a component and
//! cannot be interrupted. A child process can be ended: it has limits on CPU time, memory and wall
//! time. Without it one hostile component could stop the host.

mod artefact;
mod cache;
mod child;
mod confine;
mod key;
mod memory;
pub(super) mod order;
mod survey;
mod turns;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep_until, timeout};

pub(super) use artefact::Artefact;
pub use worker::serve;

use super::component::check_names;
use super::engine::{self, Layout};
use super::{ComponentError, RuntimeError, RuntimeOptions};
use cache::Cache;
use key::Identity;
use mistersmith_core::limits::{COMPILE_CPU, COMPILE_MEMORY, COMPILE_SILENCE, COMPILE_TIMEOUT};
use order::{Answer, Interfaces, Order, Task};
use turns::{Rank, Turn, Turns};

/// One attempt to compile a component.
pub struct Attempt<'a> {
    /// How many attempts failed before, by no fault of the file: fewer failures go first.
    pub tries: u32,
    /// Called when it takes long.
    pub slow: &'a (dyn Fn(Slow) + Send + Sync),
}

impl Attempt<'_> {
    /// The first attempt, without a callback.
    pub const FIRST: Attempt<'static> = Attempt {
        tries: 0,
        slow: &|_| (),
    };
}

/// A component takes long to compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// For how long it is being compiled.
    pub elapsed: Duration,
    /// Components that are being compiled, this one included.
    pub running: usize,
    /// Components that wait for their turn.
    pub waiting: usize,
    /// It was ended to let another begin, and is tried again later.
    pub gave_way: bool,
}

/// What one process that compiles may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// CPU time, in whole seconds.
    pub cpu: Duration,
    /// Wall time, from the begin of its turn.
    pub timeout: Duration,
    /// Bytes of memory.
    pub memory: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            cpu: COMPILE_CPU,
            timeout: COMPILE_TIMEOUT,
            memory: COMPILE_MEMORY,
        }
    }
}

/// Makes machine code of components, or finds it.
pub(super) struct Compiler {
    program: PathBuf,
    layout: Layout,
    identity: Identity,
    cache: Option<Arc<Cache>>,
    turns: Turns,
    limits: CompileLimits,
}

/// Machine code, and whether it was made earlier.
pub(super) struct Found {
    pub(super) artefact: Arc<Artefact>,
    pub(super) earlier: bool,
}

impl Compiler {
    /// A compiler that makes code for this layout of memory.
    pub(super) fn new(options: &RuntimeOptions, layout: Layout) -> Result<Self, RuntimeError> {
        let engine = engine::compiler(layout).map_err(|error| RuntimeError::Compiler {
            detail: format!("{error:#}"),
        })?;
        let folder = options.cache_dir.as_deref();
        let open = |folder: &Path| {
            Cache::open(folder).map_err(|error| RuntimeError::Cache {
                folder: folder.to_owned(),
                detail: error.to_string(),
            })
        };
        Ok(Self {
            program: options.program.clone(),
            layout,
            identity: Identity::of(&engine),
            cache: folder.map(open).transpose()?.map(Arc::new),
            turns: Turns::of_this_machine(),
            limits: options.compiling,
        })
    }

    /// The machine code of a component; with `anew` it is compiled even if the cache has it.
    pub(super) async fn code(
        &self,
        component: &Arc<[u8]>,
        attempt: &Attempt<'_>,
        anew: bool,
    ) -> Result<Found, ComponentError> {
        let name = self.name(component).await?;
        let mut tries = attempt.tries;
        if let Some(found) = self.kept(&name, anew).await {
            return Ok(found);
        }
        loop {
            let turn = self.turn(tries, component).await;
            // Another plugin with the same component may have had its turn meanwhile.
            if let Some(found) = self.kept(&name, anew).await {
                return Ok(found);
            }
            tokio::select! {
                answer = self.take(&turn, Task::Compile, component, attempt) => {
                    return match answer? {
                        Answer::Code(artefact) => Ok(self.keep(name, artefact).await),
                        other => Err(refusal(other)),
                    };
                }
                // The child ends here.
                () = turn.asked_back() => {
                    tries = tries.saturating_add(1);
                    (attempt.slow)(self.slow(&turn, true));
                }
            }
        }
    }

    /// The imports and exports of a component. Compiles nothing.
    pub(super) async fn interfaces(
        &self,
        component: &Arc<[u8]>,
    ) -> Result<Interfaces, ComponentError> {
        let turn = self.turn(0, component).await;
        match self
            .take(&turn, Task::Look, component, &Attempt::FIRST)
            .await?
        {
            Answer::Interfaces(interfaces) => Ok(interfaces),
            other => Err(refusal(other)),
        }
    }

    /// Memory for a component of this size, in bytes.
    fn memory(&self, size: u64) -> u64 {
        memory::of(size, self.turns.memory()).min(self.limits.memory)
    }

    async fn turn(&self, tries: u32, component: &[u8]) -> Turn {
        let size = component.len() as u64;
        let memory = self.memory(size);
        self.turns.take(Rank { tries, size }, memory).await
    }

    /// Runs a task in a child, within its time; reports when it takes long.
    async fn take(
        &self,
        turn: &Turn,
        task: Task,
        component: &Arc<[u8]>,
        attempt: &Attempt<'_>,
    ) -> Result<Answer, ComponentError> {
        let size = component.len() as u64;
        let order = Order {
            identity: self.identity,
            layout: self.layout,
            task,
            cpu: self.limits.cpu,
            memory: self.memory(size),
            size,
        };
        let most = self.limits.timeout;
        let mut work = Box::pin(timeout(most, self.carry_out(&order, component)));
        let mut silence = COMPILE_SILENCE;
        loop {
            tokio::select! {
                answer = &mut work => {
                    let late = |_| failed(format!("it took longer than {most:?}"));
                    return answer.map_err(late)?.map_err(failed);
                }
                () = sleep_until(turn.began() + silence) => {
                    silence *= 2;
                    (attempt.slow)(self.slow(turn, false));
                }
            }
        }
    }

    #[cfg(not(test))]
    async fn carry_out(&self, order: &Order, component: &Arc<[u8]>) -> Result<Answer, String> {
        child::run(&self.program, order, component).await
    }

    /// Tests of this crate are a program without commands: where none is named, they compile in
    /// their own process. The end-to-end tests use the real one.
    #[cfg(test)]
    async fn carry_out(&self, order: &Order, component: &Arc<[u8]>) -> Result<Answer, String> {
        if !self.program.as_os_str().is_empty() {
            return child::run(&self.program, order, component).await;
        }
        let (task, layout, component) = (order.task, order.layout, Arc::clone(component));
        let work = move || {
            let engine = engine::compiler(layout).map_err(|error| format!("{error:#}"))?;
            Ok(worker::work(&engine, task, &component))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| error.to_string())?
    }

    fn slow(&self, turn: &Turn, gave_way: bool) -> Slow {
        let (running, waiting) = self.turns.count();
        Slow {
            elapsed: turn.began().elapsed(),
            running,
            waiting,
            gave_way,
        }
    }
}

/// What is kept in the folder.
impl Compiler {
    async fn name(&self, component: &Arc<[u8]>) -> Result<String, ComponentError> {
        let (identity, component) = (self.identity, Arc::clone(component));
        // A digest of many megabytes.
        let name = tokio::task::spawn_blocking(move || identity.name(&component)).await;
        name.map_err(|error| failed(error.to_string()))
    }

    async fn kept(&self, name: &str, anew: bool) -> Option<Found> {
        let cache = self.cache.clone().filter(|_| !anew)?;
        let name = name.to_owned();
        let found = tokio::task::spawn_blocking(move || cache.get(&name)).await;
        let artefact = found.ok().flatten()?;
        Some(Found {
            artefact: Arc::new(artefact),
            earlier: true,
        })
    }

    /// Caches machine code. A failure costs the next start time, and nothing else.
    async fn keep(&self, name: String, artefact: Artefact) -> Found {
        let artefact = Arc::new(artefact);
        if let Some(cache) = self.cache.clone() {
            let code = Arc::clone(&artefact);
            let kept = tokio::task::spawn_blocking(move || cache.put(&name, &code)).await;
            if let Ok(Err(error)) = kept {
                tracing::warn!(%error, "compiled code is not kept, and will be made again");
            }
        }
        Found {
            artefact,
            earlier: false,
        }
    }
}

fn failed(detail: String) -> ComponentError {
    ComponentError::Compiler { detail }
}

/// The error of an order without a result.
fn refusal(answer: Answer) -> ComponentError {
    let other = || failed("it answered something else".to_owned());
    match answer {
        Answer::Damaged(detail) => ComponentError::Damaged { detail },
        Answer::Beyond(bound) => ComponentError::Beyond { bound },
        Answer::Failed(detail) => failed(detail),
        Answer::Interfaces(names) => check_names(&names).err().unwrap_or_else(other),
        Answer::Code(_) => other(),
    }
}

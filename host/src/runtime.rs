//! Compiles components, makes instances of them, and calls them: one call in, one [`Outcome`] out.
//!
//! It knows nothing of work, replies or acknowledgements; what a guest does outside its memory goes
//! through `capabilities`.

mod apart;
mod call;
mod component;
mod cpu;
mod death;
mod engine;
mod instance;
mod running;
mod standstill;
mod state;
mod ticker;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};
use wasmtime::Engine;
use wasmtime::component::Linker;

pub use call::{Call, Failure, Health, Kind, Notice, Outcome, Reply};
pub use component::{Component, ComponentError};
pub use death::{Death, DeathKind};
pub use instance::Instance;
pub use standstill::watch as watch_standstill;

pub use crate::capabilities::{
    AgentContext, Audit, CircuitState, Coordination, Counters, Counts, GatherAnswer, GatherStatus,
    Gathered, Gathering, Heard, Leadership, Meters, Question, Refused, SharedConfig, Source,
};

use crate::capabilities;
use crate::limits::PluginLimits;
use cpu::Aside;
use state::State;
use ticker::Ticker;

/// How long one component may take to compile, the wait for others included.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);

/// The stack of the thread that compiles, in bytes: deeply nested code makes the compiler recurse.
const COMPILE_STACK: usize = 16 << 20;

/// How a [`Runtime`] is made.
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// Where compiled code is kept for the next start. None keeps nothing. Only the host's own user may write there.
    pub cache_dir: Option<PathBuf>,
    /// Agents that run at the same time, all plugins together. Room for replacements is added.
    pub max_agents: u32,
}

/// Why there is no runtime.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The engine cannot be set up.
    #[error("cannot reserve room for {agents} agents: {detail}; run fewer instances on this host")]
    Engine {
        /// How many agents were asked for.
        agents: u32,
        /// What the engine says.
        detail: String,
    },
    /// The folder for compiled code cannot be used.
    #[error("cannot keep compiled code in {}: {detail}", .folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// What the engine says.
        detail: String,
    },
    /// The system gives no thread.
    #[error("cannot start the thread that counts CPU time: {0}")]
    Thread(#[from] std::io::Error),
}

/// The engine and everything that instances share.
pub struct Runtime {
    linker: Arc<Linker<State>>,
    compiling: Arc<Semaphore>,
    /// Where calls go on that compute long.
    aside: Aside,
    ticker: Ticker,
}

impl Runtime {
    /// Reserves room for the agents, and starts the clock of their CPU budgets.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let engine = engine::build(&options)?;
        let ticker = Ticker::start(&engine)?;
        let linker = linker(&engine).map_err(|error| RuntimeError::Engine {
            agents: options.max_agents,
            detail: format!("{error:#}"),
        })?;
        Ok(Self {
            linker: Arc::new(linker),
            compiling: Arc::new(Semaphore::new(1)),
            aside: Aside::new(),
            ticker,
        })
    }

    /// Compiles a component and checks it against the interfaces of this host and the plugin's limits.
    ///
    /// One at a time, on a thread of its own: the engine's makers promise less of the compiler than
    /// of the code it makes, and a panic there must not end the host. Gives up after two minutes.
    pub async fn compile(
        &self,
        bytes: Vec<u8>,
        limits: &PluginLimits,
    ) -> Result<Component, ComponentError> {
        component::check_bytes(&bytes)?;
        let work = self.compile_on_thread(bytes, limits.clone());
        let result = tokio::time::timeout(COMPILE_TIMEOUT, work).await;
        result.unwrap_or_else(|_| Err(failed(format!("it took longer than {COMPILE_TIMEOUT:?}"))))
    }

    /// Makes an instance of a component for an agent, and runs the component's own initialisation,
    /// which ends it with the same limits as a call.
    pub async fn instantiate(
        &self,
        component: &Component,
        context: Arc<AgentContext>,
    ) -> Result<Instance, Death> {
        let clock = (self.aside.clone(), self.ticker.pulse().clone());
        Instance::new(self.linker.engine(), component, context, clock).await
    }

    async fn compile_on_thread(
        &self,
        bytes: Vec<u8>,
        limits: PluginLimits,
    ) -> Result<Component, ComponentError> {
        let gone = |_| failed("the compiler gave no answer".to_owned());
        // The thread keeps its turn even when nobody waits for it any more.
        let turn = Arc::clone(&self.compiling).acquire_owned().await;
        let (answer, answered) = oneshot::channel();
        let linker = Arc::clone(&self.linker);
        let compile = move || {
            let _turn = turn;
            let built = catch_unwind(AssertUnwindSafe(|| {
                component::build(&linker, &bytes, &limits)
            }));
            let panicked = |_| Err(failed("the compiler panicked".to_owned()));
            // Nobody may be waiting any more.
            let _ = answer.send(built.unwrap_or_else(panicked));
        };
        let thread = thread::Builder::new()
            .name("compile".to_owned())
            .stack_size(COMPILE_STACK);
        thread
            .spawn(compile)
            .map_err(|error| failed(error.to_string()))?;
        answered.await.map_err(gone)?
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

fn failed(detail: String) -> ComponentError {
    ComponentError::Compiler { detail }
}

/// Everything that a component may import.
fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    capabilities::add_to_linker(&mut linker, |state: &mut State| &mut state.guest)?;
    Ok(linker)
}

#[cfg(test)]
mod tests;

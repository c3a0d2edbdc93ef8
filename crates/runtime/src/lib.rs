//! Compiles components, makes instances of them, and calls them: one call in, one [`Outcome`] out.
//!
//! It translates the kinds of messages that `wit/` names and acts on none of them: deliveries,
//! acknowledgements and retries belong to the host. The effects of a guest go through
//! `capabilities`, and nowhere else.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::print_stderr,
        clippy::print_stdout,
        reason = "tests read what they have made, and print why they fail"
    )
)]

mod audited;
mod background_thread;
mod bindings;
mod call;
mod capabilities;
mod compiler;
mod component;
mod cpu;
mod engine;
mod exit_reason;
mod instance;
mod running;
mod standstill;
mod state;
mod ticker;
mod trim;

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Linker;

pub use call::{Call, Failure, Health, Kind, Notice, Outcome, Reply};
pub use compiler::{Attempt, CompileLimits, Slow, serve};
pub use component::{Component, ComponentError};
pub use exit_reason::{ExitKind, ExitReason};
pub use instance::Instance;
pub use standstill::watch as watch_standstill;
pub use trim::{trim, trim_when_idle};

pub use capabilities::fence::clock;
pub use capabilities::{
    AgentContext, Audit, ByteRate, CircuitState, ConfigValues, Coordination, Counters, Counts,
    Fence, GatherAnswer, GatherStatus, Gathered, Gathering, Leadership, LeaseTerm, Question,
    RateLimits, Refused, RuntimeMessage, SharedConfig, Source,
};

use compiler::{Compiler, Found};
use cpu::ComputeSlots;
use engine::Layout;
use mistersmith_core::limits::PluginLimits;
use state::State;
use ticker::Ticker;

/// The options of a [`Runtime`].
#[derive(Debug, Clone)]
pub struct RuntimeOptions {
    /// This program: it is started again for each component that is to be compiled, as the command
    /// `compile-component`.
    pub program: PathBuf,
    /// Where compiled code is kept for the next start. None keeps nothing. The folder must belong
    /// to the host's own user, and is closed to others.
    pub cache_dir: Option<PathBuf>,
    /// The limits of one process that compiles.
    pub compiling: CompileLimits,
    /// Agents that run at the same time, all plugins together. Room for replacements is added.
    pub max_agents: u32,
}

/// The error of a runtime that cannot be made.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The engine cannot be set up.
    #[error("cannot set the engine up: {detail}")]
    Engine {
        /// The message of the engine.
        detail: String,
    },
    /// The folder for compiled code cannot be used.
    #[error("cannot keep compiled code in {}: {detail}", .folder.display())]
    Cache {
        /// The folder.
        folder: PathBuf,
        /// The message of the system.
        detail: String,
    },
    /// The compiler cannot be set up.
    #[error("cannot set the compiler up: {detail}")]
    Compiler {
        /// The message of the engine.
        detail: String,
    },
    /// The system cannot start a thread.
    #[error("cannot start the thread that counts CPU time: {0}")]
    Thread(#[from] std::io::Error),
}

/// The engine and everything that instances share.
pub struct Runtime {
    linker: Arc<Linker<State>>,
    /// Slots for instances, where no pool counts them.
    places: Option<Arc<Semaphore>>,
    compiler: Compiler,
    /// Slots for calls that compute long.
    slots: ComputeSlots,
    ticker: Ticker,
}

impl Runtime {
    /// Reserves room for the agents, and starts the clock of their CPU budgets.
    pub fn new(options: RuntimeOptions) -> Result<Self, RuntimeError> {
        let (engine, layout) = engine::build(options.max_agents)?;
        let compiler = Compiler::new(&options, layout)?;
        let places = engine::slots(options.max_agents) as usize;
        let ticker = Ticker::start(&engine)?;
        let linker = linker(&engine).map_err(|error| RuntimeError::Engine {
            detail: format!("{error:#}"),
        })?;
        Ok(Self {
            linker: Arc::new(linker),
            places: (layout == Layout::OnDemand).then(|| Arc::new(Semaphore::new(places))),
            compiler,
            slots: ComputeSlots::new(),
            ticker,
        })
    }

    /// Compiles a component in a child process, or finds what was compiled earlier, and checks it
    /// against the interfaces of this host and the plugin's limits.
    ///
    /// # Errors
    /// The file is no agent; or, when [`ComponentError::is_passing`], the compiler took too much or
    /// failed. Dropping the future ends the child.
    pub async fn compile(
        &self,
        bytes: Vec<u8>,
        limits: &PluginLimits,
        attempt: &Attempt<'_>,
    ) -> Result<Component, ComponentError> {
        component::check_bytes(&bytes)?;
        let bytes: Arc<[u8]> = bytes.into();
        let found = self.compiler.code(&bytes, attempt, false).await?;
        let earlier = found.earlier;
        match self.load(found, limits).await {
            // The cached code does not load.
            Err(ComponentError::Compiler { .. }) if earlier => {
                let made = self.compiler.code(&bytes, attempt, true).await?;
                self.load(made, limits).await
            }
            loaded => loaded,
        }
    }

    /// What a component imports, sorted; compiles nothing.
    ///
    /// # Errors
    /// As far as the names of its interfaces tell it is no agent, or it cannot be read.
    pub async fn imports(&self, bytes: Vec<u8>) -> Result<Vec<String>, ComponentError> {
        component::check_bytes(&bytes)?;
        let interfaces = self.compiler.interfaces(&bytes.into()).await?;
        component::check_names(&interfaces)?;
        Ok(interfaces.imports)
    }

    /// Makes an instance of a component for an agent, and runs the component's own initialisation,
    /// which ends it with the same limits as a call.
    pub async fn instantiate(
        &self,
        component: &Component,
        context: Arc<AgentContext>,
    ) -> Result<Instance, ExitReason> {
        let place = self.places.clone().map(Semaphore::try_acquire_owned);
        let place = place.transpose().map_err(|_| ExitReason::no_room())?;
        let clock = (self.slots.clone(), self.ticker.signal().clone());
        let engine = self.linker.engine();
        let mut made = Instance::new(engine, component, context, clock).await?;
        made.holds(place);
        Ok(made)
    }

    /// Makes a component of machine code. On a thread of its own: a large one is copied and
    /// checked.
    async fn load(&self, found: Found, limits: &PluginLimits) -> Result<Component, ComponentError> {
        let (linker, limits) = (Arc::clone(&self.linker), limits.clone());
        let work = move || {
            let compiled = audited::load(linker.engine(), &found.artefact)
                .map_err(|error| unusable(component::one_line(&error)))?;
            component::check(&linker, &compiled, &limits)
        };
        let loaded = tokio::task::spawn_blocking(work).await;
        loaded.unwrap_or_else(|error| Err(unusable(error.to_string())))
    }
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// The error of machine code that cannot be loaded.
fn unusable(detail: String) -> ComponentError {
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

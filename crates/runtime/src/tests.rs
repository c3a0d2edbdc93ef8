//! Small hostile and honest components, written as core modules in text and wrapped for the world.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod adversaries;
mod bounds;
mod calls;
mod files;
mod lines;
mod module;
mod sweep;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::capabilities::fixture::{Built, Fixture};
use mistersmith_nats::{SharedHeaders, Trace};
use module::Module;

/// One runtime for the tests that look at nothing but their own instance: making one costs more
/// than the tests.
fn shared() -> &'static Runtime {
    static SHARED: OnceLock<Runtime> = OnceLock::new();
    SHARED.get_or_init(|| runtime(16))
}

fn runtime(max_agents: u32) -> Runtime {
    Runtime::new(RuntimeOptions {
        program: PathBuf::new(),
        cache_dir: None,
        compiling: CompileLimits::default(),
        max_agents,
    })
    .unwrap()
}

fn call(payload: impl Into<Bytes>) -> Call {
    Call {
        kind: Kind::Execute,
        subject: "agent.probe-001.cmd.execute".to_owned(),
        payload: payload.into(),
        headers: SharedHeaders::default(),
        trace: Trace::begin("test"),
        waits_until: None,
    }
}

/// Compiles and instantiates on the shared runtime.
async fn instance(module: &Module, built: &Built) -> Instance {
    try_instance(shared(), module, built).await.unwrap()
}

async fn try_instance(
    runtime: &Runtime,
    module: &Module,
    built: &Built,
) -> Result<Instance, ExitReason> {
    let component = runtime
        .compile(
            module.component(),
            &PluginLimits::default(),
            &Attempt::FIRST,
        )
        .await
        .unwrap();
    runtime
        .instantiate(&component, Arc::clone(&built.context))
        .await
}

fn exited<T: std::fmt::Debug>(outcome: Outcome<T>) -> ExitReason {
    match outcome {
        Outcome::Exited(exit) => exit,
        other => panic!("expected an exit, got {other:?}"),
    }
}

fn reply(outcome: Outcome) -> Reply {
    match outcome {
        Outcome::Done(Some(reply)) => reply,
        other => panic!("expected a reply, got {other:?}"),
    }
}

/// One limit at a time: the others are far away.
fn limits(change: impl FnOnce(&mut PluginLimits)) -> Built {
    let roomy = |fixture: &mut Fixture| {
        fixture.limits.timeout = Duration::from_secs(30);
        fixture.limits.cpu = Duration::from_secs(30);
        change(&mut fixture.limits);
    };
    Fixture::granted().with(roomy).build()
}

/// Asks an agent that answers an empty payload and misbehaves at any other.
async fn exit_of(module: &Module, built: &Built) -> ExitReason {
    let mut agent = instance(module, built).await;
    assert_eq!(
        reply(agent.handle(&call("")).await).payload,
        "",
        "it works until it is asked"
    );
    let exit = exited(agent.handle(&call("x")).await);
    assert!(!agent.is_alive());
    assert_eq!(agent.memory(), 0);
    assert_eq!(
        exited(agent.handle(&call("")).await).kind,
        ExitKind::Gone,
        "it stays dead"
    );
    let mut next = instance(module, built).await;
    assert_eq!(
        reply(next.handle(&call("")).await).payload,
        "",
        "another one works"
    );
    exit
}

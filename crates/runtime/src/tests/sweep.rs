//! A call dropped at each of its awaits leaves nothing behind.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// Sleeps briefly several times, publishes in between: many places to be dropped at.
fn waiting() -> Module {
    let sleep = "(call $block (call $subscribe-duration (i64.const 1000000)))";
    let publish = "(call $publish (i32.const 4200) (i32.const 5) (i32.const 0) (i32.const 0) \
                   (i32.const 0) (i32.const 0) (i32.const 4096))";
    Module::when_asked(&format!(
        "{sleep} {publish} {sleep} {publish} {sleep} {sleep}"
    ))
    .import(
        "wasi:clocks/monotonic-clock@0.2.6",
        "subscribe-duration",
        "(param i64) (result i32)",
    )
    .import(
        "wasi:io/poll@0.2.6",
        "[method]pollable.block",
        "(param i32)",
    )
    .import(
        "mistersmith:agent/messaging@0.1.0",
        "publish",
        "(param i32 i32 i32 i32 i32 i32 i32)",
    )
    .item("(data (i32.const 4200) \"out.a\")")
}

/// Polls a future `times` times, whatever it waits for, and drops it. True when it was done.
fn poll_times<F: Future>(future: F, times: usize) -> bool {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    (0..times).any(|_| {
        let done = matches!(future.as_mut().poll(&mut context), Poll::Ready(_));
        if !done {
            std::thread::sleep(Duration::from_micros(300));
        }
        done
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_leave_nothing_behind() {
    let runtime = runtime(4);
    let built = Fixture::granted().build();
    let component = runtime
        .compile(
            waiting().component(),
            &PluginLimits::default(),
            &Attempt::FIRST,
        )
        .await
        .unwrap();
    let metrics = runtime.linker.engine().pooling_allocator_metrics().unwrap();
    let used = || {
        (
            metrics.core_instances(),
            metrics.component_instances(),
            metrics.memories(),
            metrics.tables(),
            metrics.stacks(),
        )
    };
    let (mut finished, mut dropped) = (0, 0);
    // The last one is as patient as a slow machine may need.
    for times in (0..30).chain([20_000]) {
        let mut agent = runtime
            .instantiate(&component, Arc::clone(&built.context))
            .await
            .unwrap();
        if poll_times(agent.handle(&call("x")), times) {
            finished += 1;
            assert!(agent.is_alive());
        } else {
            dropped += 1;
            assert_eq!(
                agent.is_alive(),
                times == 0,
                "a call that began and was dropped ends the instance"
            );
            if times > 0 {
                assert_eq!(exited(agent.handle(&call("")).await).kind, ExitKind::Gone);
            }
        }
        drop(agent);
        assert_eq!(used(), (0, 0, 0, 0, 0), "after {times} polls");
    }
    assert!(
        dropped > 3 && finished > 0,
        "dropped {dropped}, finished {finished}"
    );
}

#[tokio::test]
async fn dropped_instantiations_leave_nothing_behind() {
    let runtime = runtime(4);
    let built = Fixture::new()
        .with(|f| f.limits.start_timeout = Duration::from_secs(60))
        .build();
    let spin = Module::echo().item("(func $begin (loop (br 0))) (start $begin)");
    let component = runtime
        .compile(spin.component(), &PluginLimits::default(), &Attempt::FIRST)
        .await
        .unwrap();
    let metrics = runtime.linker.engine().pooling_allocator_metrics().unwrap();
    for times in 0..5 {
        assert!(!poll_times(
            runtime.instantiate(&component, Arc::clone(&built.context)),
            times
        ));
        assert_eq!(
            (
                metrics.core_instances(),
                metrics.memories(),
                metrics.stacks()
            ),
            (0, 0, 0),
            "after {times} polls"
        );
    }
}

//! Agents that loop, wait, grow and flood: each meets its limit, and only it.

use super::*;

#[tokio::test]
async fn a_spinning_guest_runs_out_of_cpu_time() {
    let built = limits(|limits| limits.cpu = Duration::from_millis(100));
    let begun = Instant::now();
    let exit = exit_of(&Module::when_asked("(loop (br 0))"), &built).await;
    assert_eq!(exit.kind, ExitKind::Cpu);
    assert_eq!(
        exit.message,
        "the call used more than the 100ms of CPU time that it may use"
    );
    assert!(begun.elapsed() >= Duration::from_millis(90));
}

#[tokio::test]
async fn a_spinning_guest_runs_out_of_wall_time() {
    let built = limits(|limits| limits.timeout = Duration::from_millis(100));
    let exit = exit_of(&Module::when_asked("(loop (br 0))"), &built).await;
    assert_eq!(exit.kind, ExitKind::Timeout);
    assert_eq!(
        exit.message,
        "the call took longer than the 100ms that it may take"
    );
}

#[tokio::test]
async fn a_sleeping_guest_runs_out_of_wall_time_and_not_of_cpu_time() {
    let built = limits(|limits| {
        limits.timeout = Duration::from_millis(200);
        limits.cpu = Duration::from_millis(50);
    });
    let module = Module::when_asked("(call $block (call $subscribe-duration (i64.const -1)))")
        .import(
            "wasi:clocks/monotonic-clock@0.2.6",
            "subscribe-duration",
            "(param i64) (result i32)",
        )
        .import(
            "wasi:io/poll@0.2.6",
            "[method]pollable.block",
            "(param i32)",
        );
    assert_eq!(exit_of(&module, &built).await.kind, ExitKind::Timeout);
}

#[tokio::test]
async fn many_short_waits_use_no_cpu_time() {
    let built = limits(|limits| limits.cpu = Duration::from_millis(200));
    let module = Module::when_asked(
        "(local.set $kind (i32.const 80))
         (loop
            (call $block (local.tee $c (call $subscribe-duration (i64.const 5000000))))
            (call $pollable (local.get $c))
            (br_if 0 (local.tee $kind (i32.sub (local.get $kind) (i32.const 1)))))",
    )
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
        "wasi:io/poll@0.2.6",
        "[resource-drop]pollable",
        "(param i32)",
    );
    let mut agent = instance(&module, &built).await;
    let begun = Instant::now();
    assert_eq!(reply(agent.handle(&call("x")).await).payload, "x");
    assert!(begun.elapsed() > Duration::from_millis(400));
}

#[tokio::test]
async fn other_agents_run_beside_spinning_ones() {
    let built = limits(|limits| limits.timeout = Duration::from_secs(20));
    let mut echo = instance(&Module::echo(), &built).await;
    let mut spinners = Vec::new();
    for _ in 0..4 {
        let mut spinner = instance(&Module::when_asked("(loop (br 0))"), &built).await;
        spinners.push(tokio::spawn(
            async move { spinner.handle(&call("x")).await },
        ));
    }
    // One thread runs them all: each must give way.
    for _ in 0..20 {
        assert_eq!(
            reply(echo.handle(&call("still here")).await).payload,
            "still here"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for spinner in spinners {
        assert!(!spinner.is_finished());
        spinner.abort();
        assert!(spinner.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_spinning_agents_than_processors_have_their_cpu_time_each_and_hold_up_no_other() {
    let built = limits(|limits| {
        limits.cpu = Duration::from_millis(200);
        limits.timeout = Duration::from_secs(60);
    });
    let mut echo = instance(&Module::echo(), &built).await;
    let begun = Instant::now();
    let mut spinners = Vec::new();
    for _ in 0..12 {
        let mut spinner = instance(&Module::when_asked("(loop (br 0))"), &built).await;
        spinners.push(tokio::spawn(
            async move { spinner.handle(&call("x")).await },
        ));
    }
    while !spinners.iter().all(tokio::task::JoinHandle::is_finished) {
        assert_eq!(reply(echo.handle(&call("here")).await).payload, "here");
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    for spinner in spinners {
        assert_eq!(exited(spinner.await.unwrap()).kind, ExitKind::Cpu);
    }
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let built = limits(|limits| limits.memory = 4 << 20);
    let module = Module::when_asked(
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
    );
    let exit = exit_of(&module, &built).await;
    assert_eq!(exit.kind, ExitKind::Memory);
    let most = 4 << 20;
    assert_eq!(
        exit.message,
        format!(
            "it wanted {} bytes of memory, and [limits] memory allows {most}",
            most + 65536
        )
    );
}

#[tokio::test]
async fn a_refused_growth_is_no_death() {
    let built = limits(|limits| limits.memory = 4 << 20);
    let mut agent = instance(
        &Module::when_asked("(drop (memory.grow (i32.const 10000)))"),
        &built,
    )
    .await;
    assert_eq!(reply(agent.handle(&call("x")).await).payload, "x");
    let trap =
        Module::handle("(if (i32.eq (local.get $payload_len) (i32.const 2)) (then unreachable))");
    let mut agent = instance(&trap, &built).await;
    assert_eq!(reply(agent.handle(&call("x")).await).payload, "x");
    assert_eq!(exited(agent.handle(&call("xx")).await).kind, ExitKind::Trap);
}

#[tokio::test]
async fn tables_count_as_memory() {
    let built = limits(|limits| limits.memory = 200_000);
    let module = Module::when_asked(
        "(loop (br_if 0 (i32.ne (table.grow 0 (ref.null func) (i32.const 100)) (i32.const -1)))) \
         unreachable",
    )
    .item("(table 0 funcref)");
    assert_eq!(exit_of(&module, &built).await.kind, ExitKind::Memory);
}

#[tokio::test]
async fn a_component_that_needs_too_much_to_begin_with_is_refused() {
    let module = Module::echo().memory("(memory (export \"memory\") 100)");
    let limits = PluginLimits {
        memory: 1 << 20,
        ..PluginLimits::default()
    };
    let error = shared()
        .compile(module.component(), &limits, &Attempt::FIRST)
        .await
        .unwrap_err();
    assert_eq!(
        error,
        ComponentError::TooMuchMemory {
            needed: 6_553_600,
            allowed: 1 << 20
        }
    );
}

#[tokio::test]
async fn resources_are_counted() {
    let built = limits(|limits| limits.handles = 50);
    let module =
        Module::when_asked("(loop (drop (call $subscribe-duration (i64.const 1))) (br 0))").import(
            "wasi:clocks/monotonic-clock@0.2.6",
            "subscribe-duration",
            "(param i64) (result i32)",
        );
    let exit = exit_of(&module, &built).await;
    assert_eq!(exit.kind, ExitKind::Handles, "{exit}");
}

#[tokio::test]
async fn a_hundred_megabytes_in_one_call_are_refused_without_being_copied() {
    let built = limits(|limits| limits.memory = 256 << 20);
    let module = Module::when_asked(
        "(drop (memory.grow (i32.const 1700)))
         (call $publish (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 100000000) (i32.const 0) (i32.const 0) (i32.const 4096))",
    )
    .import("mistersmith:agent/messaging@0.1.0", "publish", "(param i32 i32 i32 i32 i32 i32 i32)");
    let exit = exit_of(&module, &built).await;
    assert_eq!(exit.kind, ExitKind::Data, "{exit}");
}

#[tokio::test]
async fn random_numbers_come_in_bounded_portions() {
    let module =
        Module::when_asked("(call $get-random-bytes (i64.const 0x7fffffffffff) (i32.const 4096))")
            .import(
                "wasi:random/random@0.2.6",
                "get-random-bytes",
                "(param i64 i32)",
            );
    assert_eq!(exit_of(&module, &limits(|_| ())).await.kind, ExitKind::Trap);
}

#[tokio::test]
async fn stop_has_its_own_time() {
    let built = limits(|limits| limits.stop_timeout = Duration::from_millis(50));
    let agent = instance(&Module::echo().stop("(loop (br 0))"), &built).await;
    let begun = Instant::now();
    assert_eq!(exited(agent.stop("drain").await).kind, ExitKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_flood_of_refused_publishes_is_bounded_by_cpu_time() {
    let built = limits(|limits| limits.cpu = Duration::from_millis(100));
    let module = Module::when_asked(
        "(loop
            (call $publish (i32.const 4200) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4096))
            (br 0))",
    )
    .import("mistersmith:agent/messaging@0.1.0", "publish", "(param i32 i32 i32 i32 i32 i32 i32)")
    .item("(data (i32.const 4200) \"orders\")");
    assert_eq!(exit_of(&module, &built).await.kind, ExitKind::Cpu);
    assert!(built.counts().refused > 100);
    assert!(built.refused.lock().unwrap().len() < 50);
}

#[tokio::test]
async fn more_instances_than_there_is_room_for_are_refused() {
    let small = runtime(1);
    let built = limits(|_| ());
    let mut agents = Vec::new();
    let full = loop {
        match try_instance(&small, &Module::echo(), &built).await {
            Ok(agent) => agents.push(agent),
            Err(exit) => break exit,
        }
        assert!(agents.len() < 100);
    };
    assert_eq!(full.kind, ExitKind::Room, "{full:?}");
    agents.pop();
    assert!(try_instance(&small, &Module::echo(), &built).await.is_ok());
}

//! Agents that trap, loop, grow and flood: each ends alone, says why, and can be replaced.

use super::*;

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
async fn death_of(module: &Module, built: &Built) -> Death {
    let mut agent = instance(module, built).await;
    assert_eq!(
        reply(agent.handle(&call("")).await).payload,
        "",
        "it works until it is asked"
    );
    let death = died(agent.handle(&call("x")).await);
    assert!(!agent.is_alive());
    assert_eq!(agent.memory(), 0);
    assert_eq!(
        died(agent.handle(&call("")).await).kind,
        DeathKind::Gone,
        "it stays dead"
    );
    let mut next = instance(module, built).await;
    assert_eq!(
        reply(next.handle(&call("")).await).payload,
        "",
        "another one works"
    );
    death
}

#[tokio::test]
async fn a_trap_ends_the_instance() {
    let death = death_of(&Module::when_asked("unreachable"), &limits(|_| ())).await;
    assert_eq!(death.kind, DeathKind::Trap);
    assert!(death.message.starts_with("it gave up"), "{death}");
    assert!(!death.backtrace.is_empty());
}

#[tokio::test]
async fn an_access_out_of_bounds_is_a_trap() {
    let module = Module::when_asked("(i32.store (i32.const -8) (i32.const 1))");
    assert_eq!(
        death_of(&module, &limits(|_| ())).await.kind,
        DeathKind::Trap
    );
}

#[tokio::test]
async fn a_spinning_guest_runs_out_of_cpu_time() {
    let built = limits(|limits| limits.cpu = Duration::from_millis(100));
    let begun = Instant::now();
    let death = death_of(&Module::when_asked("(loop (br 0))"), &built).await;
    assert_eq!(death.kind, DeathKind::Cpu);
    assert_eq!(
        death.message,
        "the call used more than the 100ms of CPU time that it may use"
    );
    assert!(begun.elapsed() >= Duration::from_millis(90));
}

#[tokio::test]
async fn a_spinning_guest_runs_out_of_wall_time() {
    let built = limits(|limits| limits.timeout = Duration::from_millis(100));
    let death = death_of(&Module::when_asked("(loop (br 0))"), &built).await;
    assert_eq!(death.kind, DeathKind::Timeout);
    assert_eq!(
        death.message,
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
    assert_eq!(death_of(&module, &built).await.kind, DeathKind::Timeout);
}

#[tokio::test]
async fn many_short_waits_use_no_cpu_time() {
    let built = limits(|limits| limits.cpu = Duration::from_millis(50));
    let module = Module::when_asked(
        "(local.set $kind (i32.const 40))
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
    assert!(begun.elapsed() > Duration::from_millis(200));
}

#[tokio::test]
async fn the_caller_may_end_a_call_sooner() {
    let built = limits(|_| ());
    let mut agent = instance(&Module::when_asked("(loop (br 0))"), &built).await;
    let deadline = Instant::now() + Duration::from_millis(50);
    assert_eq!(
        died(
            agent
                .handle(&Call {
                    deadline,
                    ..call("x")
                })
                .await
        )
        .kind,
        DeathKind::Timeout
    );
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

#[tokio::test]
async fn memory_ends_at_its_limit() {
    let built = limits(|limits| limits.memory = 4 << 20);
    let module = Module::when_asked(
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable",
    );
    let death = death_of(&module, &built).await;
    assert_eq!(death.kind, DeathKind::Memory);
    let most = 4 << 20;
    assert_eq!(
        death.message,
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
    assert_eq!(died(agent.handle(&call("xx")).await).kind, DeathKind::Trap);
}

#[tokio::test]
async fn tables_count_as_memory() {
    let built = limits(|limits| limits.memory = 200_000);
    let module = Module::when_asked(
        "(loop (br_if 0 (i32.ne (table.grow 0 (ref.null func) (i32.const 100)) (i32.const -1)))) unreachable",
    )
    .item("(table 0 funcref)");
    assert_eq!(death_of(&module, &built).await.kind, DeathKind::Memory);
}

#[tokio::test]
async fn a_component_that_needs_too_much_to_begin_with_is_refused() {
    let module = Module::echo().memory("(memory (export \"memory\") 100)");
    let limits = PluginLimits {
        memory: 1 << 20,
        ..PluginLimits::default()
    };
    let error = shared()
        .compile(module.component(), &limits)
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
    let death = death_of(&module, &built).await;
    assert_eq!(death.kind, DeathKind::Handles, "{death}");
}

#[tokio::test]
async fn an_allocator_that_lies_harms_only_itself() {
    for lie in [
        "(i32.const -8)",
        "(i32.const 131070)",
        "unreachable",
        "(loop (br 0)) unreachable",
    ] {
        let built = limits(|limits| limits.cpu = Duration::from_millis(50));
        let mut agent = instance(&Module::echo().realloc(lie), &built).await;
        let death = died(agent.handle(&call(vec![1; 100])).await);
        assert!(
            matches!(death.kind, DeathKind::Trap | DeathKind::Cpu),
            "{lie}: {death:?}"
        );
    }
}

#[tokio::test]
async fn answers_outside_of_memory_are_a_death() {
    // A result pointer beyond the memory, a payload beyond it, a case that does not exist, text that is not UTF-8.
    let bodies = [
        "(return (i32.const -4))",
        "(local.set $payload_len (i32.const -1))",
        "(i32.store8 (i32.const 3072) (i32.const 9)) (return (i32.const 3072))",
        "(i32.store8 (i32.const 3072) (i32.const 1)) (i32.store8 (i32.const 3076) (i32.const 1))
         (i32.store8 (i32.const 3072) (i32.const 1)) (i32.store (i32.const 3080) (i32.const 4096))
         (i32.store (i32.const 3084) (i32.const 2)) (i32.store16 (i32.const 4096) (i32.const 0xfeff))
         (return (i32.const 3072))",
    ];
    for body in bodies {
        let death = death_of(&Module::when_asked(body), &limits(|_| ())).await;
        assert!(
            matches!(death.kind, DeathKind::Trap | DeathKind::Data),
            "{body}: {death:?}"
        );
    }
}

#[tokio::test]
async fn a_hundred_megabytes_in_one_call_are_refused_without_being_copied() {
    let built = limits(|limits| limits.memory = 256 << 20);
    let module = Module::when_asked(
        "(drop (memory.grow (i32.const 1700)))
         (call $publish (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 100000000) (i32.const 0) (i32.const 0) (i32.const 4096))",
    )
    .import("mistersmith:agent/messaging@0.1.0", "publish", "(param i32 i32 i32 i32 i32 i32 i32)");
    let death = death_of(&module, &built).await;
    assert_eq!(death.kind, DeathKind::Data, "{death}");
}

#[tokio::test]
async fn deep_recursion_is_a_trap() {
    let module =
        Module::when_asked("(call $deeper)").item("(func $deeper (call $deeper) (call $deeper))");
    let death = death_of(&module, &limits(|_| ())).await;
    assert_eq!(
        (death.kind, death.message.as_str()),
        (DeathKind::Trap, "its stack is too deep")
    );
    assert!(death.backtrace.len() <= 16);
}

#[tokio::test]
async fn exit_ends_the_instance_and_not_the_host() {
    let module = Module::when_asked("(call $exit (i32.const 1))").import(
        "wasi:cli/exit@0.2.6",
        "exit",
        "(param i32)",
    );
    let death = death_of(&module, &limits(|_| ())).await;
    assert_eq!(
        (death.kind, death.message.as_str()),
        (DeathKind::Exit, "it called exit(1)")
    );
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
    assert_eq!(
        death_of(&module, &limits(|_| ())).await.kind,
        DeathKind::Trap
    );
}

#[tokio::test]
async fn a_trap_before_or_in_start_is_a_death() {
    let built = limits(|limits| limits.start_timeout = Duration::from_millis(200));
    for item in [
        "(func $begin unreachable) (start $begin)",
        "(func $begin (loop (br 0))) (start $begin)",
    ] {
        let death = try_instance(shared(), &Module::echo().item(item), &built)
            .await
            .unwrap_err();
        assert!(
            matches!(
                death.kind,
                DeathKind::Trap | DeathKind::Cpu | DeathKind::Timeout
            ),
            "{death:?}"
        );
    }
    for (body, kinds) in [
        ("unreachable", [DeathKind::Trap, DeathKind::Trap]),
        (
            "(loop (br 0)) unreachable",
            [DeathKind::Timeout, DeathKind::Cpu],
        ),
    ] {
        let mut agent = instance(&Module::echo().start(body), &built).await;
        let death = died(agent.start().await);
        assert!(kinds.contains(&death.kind), "{death:?}");
        assert!(!agent.is_alive());
    }
}

#[tokio::test]
async fn stop_has_its_own_time() {
    let built = limits(|limits| limits.stop_timeout = Duration::from_millis(50));
    let agent = instance(&Module::echo().stop("(loop (br 0))"), &built).await;
    let begun = Instant::now();
    assert_eq!(died(agent.stop("drain").await).kind, DeathKind::Timeout);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// The components behind `wasi:cli/stdout` write "line\n" this many times.
fn printing(times: u32) -> Module {
    Module::when_asked(&format!(
        "(local.set $c (call $get-stdout)) (local.set $kind (i32.const {times}))
         (loop
            (call $write (local.get $c) (i32.const 4200) (i32.const 5) (i32.const 4096))
            (br_if 0 (local.tee $kind (i32.sub (local.get $kind) (i32.const 1)))))"
    ))
    .import("wasi:cli/stdout@0.2.6", "get-stdout", "(result i32)")
    .import(
        "wasi:io/streams@0.2.6",
        "[method]output-stream.write",
        "(param i32 i32 i32 i32)",
    )
    .item("(data (i32.const 4200) \"line\\0a\")")
}

#[tokio::test]
async fn a_flood_of_lines_is_cut_to_its_rate() {
    // Lines are counted only where somebody reads them.
    let _reader = tracing::subscriber::set_default(
        tracing_subscriber::fmt()
            .with_writer(std::io::sink)
            .finish(),
    );
    let built = limits(|limits| limits.log_rate = 10);
    let mut agent = instance(&printing(1000), &built).await;
    assert_eq!(
        reply(agent.handle(&call("x")).await).payload,
        "x",
        "printing too much is no failure"
    );
    let counts = built.counts();
    assert_eq!(counts.logged + counts.unlogged, 1000);
    assert!((10..200).contains(&counts.logged), "{counts:?}");

    let log = Module::when_asked(
        "(local.set $kind (i32.const 1000))
         (loop
            (call $log (i32.const 3) (i32.const 4200) (i32.const 5) (i32.const 0) (i32.const 0))
            (br_if 0 (local.tee $kind (i32.sub (local.get $kind) (i32.const 1)))))",
    )
    .import(
        "mistersmith:agent/log@0.1.0",
        "log",
        "(param i32 i32 i32 i32 i32)",
    )
    .item("(data (i32.const 4200) \"line\\0a\")");
    let mut agent = instance(&log, &built).await;
    assert_eq!(reply(agent.handle(&call("x")).await).payload, "x");
    let counts = built.counts();
    assert_eq!(counts.logged + counts.unlogged, 2000);
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
    assert_eq!(death_of(&module, &built).await.kind, DeathKind::Cpu);
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
            Err(death) => break death,
        }
        assert!(agents.len() < 100);
    };
    assert_eq!(full.kind, DeathKind::Room, "{full:?}");
    agents.pop();
    assert!(try_instance(&small, &Module::echo(), &built).await.is_ok());
}

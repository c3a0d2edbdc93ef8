//! Agents that trap, lie and leave: each ends alone, says why, and can be replaced.

use super::*;

#[tokio::test]
async fn a_trap_ends_the_instance() {
    let exit = exit_of(&Module::when_asked("unreachable"), &limits(|_| ())).await;
    assert_eq!(exit.kind, ExitKind::Trap);
    assert!(exit.message.starts_with("it gave up"), "{exit}");
    assert!(!exit.backtrace.is_empty());
}

#[tokio::test]
async fn an_access_out_of_bounds_is_a_trap() {
    let module = Module::when_asked("(i32.store (i32.const -8) (i32.const 1))");
    assert_eq!(exit_of(&module, &limits(|_| ())).await.kind, ExitKind::Trap);
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
        let exit = exited(agent.handle(&call(vec![1; 100])).await);
        assert!(
            matches!(exit.kind, ExitKind::Trap | ExitKind::Cpu),
            "{lie}: {exit:?}"
        );
    }
}

#[tokio::test]
async fn answers_outside_of_memory_are_a_death() {
    // A result pointer beyond the memory, a payload beyond it, a case that does not exist, text
    // that is not UTF-8.
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
        let exit = exit_of(&Module::when_asked(body), &limits(|_| ())).await;
        assert!(
            matches!(exit.kind, ExitKind::Trap | ExitKind::Data),
            "{body}: {exit:?}"
        );
    }
}

#[tokio::test]
async fn deep_recursion_is_a_trap() {
    let module =
        Module::when_asked("(call $deeper)").item("(func $deeper (call $deeper) (call $deeper))");
    let exit = exit_of(&module, &limits(|_| ())).await;
    assert_eq!(
        (exit.kind, exit.message.as_str()),
        (ExitKind::Trap, "its stack is too deep")
    );
    assert!(exit.backtrace.len() <= 16);
}

#[tokio::test]
async fn exit_ends_the_instance_and_not_the_host() {
    let module = Module::when_asked("(call $exit (i32.const 1))").import(
        "wasi:cli/exit@0.2.6",
        "exit",
        "(param i32)",
    );
    let exit = exit_of(&module, &limits(|_| ())).await;
    assert_eq!(
        (exit.kind, exit.message.as_str()),
        (ExitKind::Exit, "it called exit(1)")
    );
}

#[tokio::test]
async fn a_trap_before_or_in_start_is_a_death() {
    let built = limits(|limits| limits.start_timeout = Duration::from_millis(200));
    for item in [
        "(func $begin unreachable) (start $begin)",
        "(func $begin (loop (br 0))) (start $begin)",
    ] {
        let exit = try_instance(shared(), &Module::echo().item(item), &built)
            .await
            .unwrap_err();
        assert!(
            matches!(
                exit.kind,
                ExitKind::Trap | ExitKind::Cpu | ExitKind::Timeout
            ),
            "{exit:?}"
        );
    }
    for (body, kinds) in [
        ("unreachable", [ExitKind::Trap, ExitKind::Trap]),
        (
            "(loop (br 0)) unreachable",
            [ExitKind::Timeout, ExitKind::Cpu],
        ),
    ] {
        let mut agent = instance(&Module::echo().start(body), &built).await;
        let exit = exited(agent.start().await);
        assert!(kinds.contains(&exit.kind), "{exit:?}");
        assert!(!agent.is_alive());
    }
}

/// A mistake of the host, in the middle of a host function.
struct Panics;

impl crate::capabilities::Audit for Panics {
    fn refused(&self, _: crate::capabilities::Refused) {
        panic!("a mistake in a test");
    }
}

#[tokio::test]
async fn a_mistake_of_the_host_ends_the_instance_and_not_the_agent() {
    let runtime = runtime(1);
    let module = Module::when_asked(
        "(call $subscribe (i32.const 4200) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const \
         0) (i32.const 4096))",
    )
    .import(
        "mistersmith:agent/messaging@0.1.0",
        "subscribe",
        "(param i32 i32 i32 i32 i32 i32)",
    )
    .item("(data (i32.const 4200) \"in\")");
    let built = Fixture::new()
        .with(|fixture| fixture.audit = Some(Arc::new(Panics)))
        .build();
    let mut agent = try_instance(&runtime, &module, &built).await.unwrap();
    let exit = exited(agent.handle(&call("x")).await);
    assert_eq!(
        (exit.kind, exit.message.as_str()),
        (
            ExitKind::Host,
            "the host made a mistake in a call of the agent"
        )
    );
    let metrics = runtime.linker.engine().pooling_allocator_metrics().unwrap();
    assert_eq!(
        (
            metrics.core_instances(),
            metrics.memories(),
            metrics.stacks()
        ),
        (0, 0, 0)
    );
    let mut next = try_instance(&runtime, &module, &built).await.unwrap();
    assert_eq!(reply(next.handle(&call("")).await).payload, "");
}

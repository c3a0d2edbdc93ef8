//! Agents that trap, lie and leave: each ends alone, says why, and can be replaced.

use super::*;

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
        "(call $subscribe (i32.const 4200) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4096))",
    )
    .import("mistersmith:agent/messaging@0.1.0", "subscribe", "(param i32 i32 i32 i32 i32 i32)")
    .item("(data (i32.const 4200) \"in\")");
    let built = Fixture::new()
        .with(|fixture| fixture.audit = Some(Arc::new(Panics)))
        .build();
    let mut agent = try_instance(&runtime, &module, &built).await.unwrap();
    let death = died(agent.handle(&call("x")).await);
    assert_eq!(
        (death.kind, death.message.as_str()),
        (
            DeathKind::Host,
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

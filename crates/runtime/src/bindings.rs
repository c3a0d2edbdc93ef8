//! Bindings generated from `wit/`: the only `bindgen!`.
//!
//! They define types, a trait for each imported interface, and calls for each export, and contain
//! no decisions: `capabilities` implements the traits, `instance` makes the calls.
//!
//! Only functions that wait for NATS are `async`; a call of the others allocates no future.
#![allow(
    missing_docs,
    unreachable_pub,
    unused_variables,
    reason = "generated code"
)]
#![allow(
    unsafe_code,
    reason = "generated code: `TypedFunc::new_unchecked` on functions whose types were checked \
              when they were loaded"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "agent",
    imports: {
        "mistersmith:agent/messaging.publish": async,
        "mistersmith:agent/messaging.publish-stored": async,
        "mistersmith:agent/messaging.request": async,
        "mistersmith:agent/messaging.subscribe": async,
        "mistersmith:agent/kv": async,
        "mistersmith:agent/coordination.scatter": async,
        "mistersmith:agent/coordination.start-pipeline": async,
        "mistersmith:agent/coordination.pipeline-result": async,
        "mistersmith:agent/coordination.signal": async,
        "mistersmith:agent/coordination.await-event": async,
        "mistersmith:agent/coordination.watch": async,
        "mistersmith:agent/coordination.circuit": async,
    },
    exports: { default: async },
});

//! The functions of the host: the imports of the WIT in a component, those of the mock elsewhere.

#[cfg(target_family = "wasm")]
mod component;
#[cfg(target_family = "wasm")]
pub(crate) use component::*;

#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::mock::coordination::{
    await_event, circuit, leadership, pipeline_result, scatter, signal, start_pipeline, unwatch,
    watch,
};
#[cfg(not(target_family = "wasm"))]
pub(crate) use crate::mock::imports::*;

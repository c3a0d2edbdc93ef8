//! All unsafe code of this program; each function says why it is sound.
//!
//! Everywhere else the workspace denies `unsafe`. A new function here needs a reason as good as
//! that of the first: without `unsafe` no compiled code could come from another process.

#![allow(unsafe_code)]

use std::os::fd::RawFd;

use wasmtime::component::Component;
use wasmtime::{Engine, Result as WasmResult};

use super::compiler::Artefact;

/// Loads machine code, so that instances can be made of it.
pub(super) fn load(engine: &Engine, artefact: &Artefact) -> WasmResult<Component> {
    // SAFETY: the bytes must be what `Engine::precompile_component` of the same engine version has
    // made, since they are mapped and executed. Only two functions make an `Artefact`, both private
    // to `compiler`:
    // - `Artefact::made` takes what a child process has answered that we started ourselves, from
    //   our own program file, over a pipe that nobody else holds, and that has proved by its
    //   identity that it is the same build with the same settings.
    // - `Artefact::unseal` takes what such a child made earlier, from a folder that belongs to us
    //   and that nobody else may write, and only with a seal over name and content that needs the
    //   key of that folder. What is damaged, cut, renamed or copied there has no such seal.
    // The bytes are in our own memory, so that nobody changes them between the check of the seal
    // and the load. The engine compares version, target, processor features and settings once more.
    // A hostile component can mislead the compiler only as far as a bug of the compiler lets it:
    // that is so wherever it runs, and this code is as good as if it had been compiled in here.
    unsafe { Component::deserialize(engine, artefact.code()) }
}

/// Makes the allocator return to the system the memory that this thread has freed.
pub(super) fn give_memory_back() {
    // SAFETY: it takes and returns no pointer, touches no memory that is in use, and may be called
    // by any thread at any time; it is unsafe only as every foreign function is.
    unsafe { libmimalloc_sys::mi_collect(true) };
}

/// Closes the descriptors that this process was started with, but for the three standard ones.
///
/// Call it first in a process that still has one thread.
pub(super) fn close_inherited() {
    let Some(folder) = ["/proc/self/fd", "/dev/fd"]
        .into_iter()
        .find(|folder| std::fs::exists(folder).unwrap_or(false))
    else {
        return;
    };
    // Collected first: the list is read through a descriptor of its own, which is closed again.
    let open: Vec<RawFd> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    let is_open = |number: &&RawFd| std::fs::symlink_metadata(format!("{folder}/{number}")).is_ok();
    for number in open.iter().filter(|number| **number > 2).filter(is_open) {
        // SAFETY: a descriptor may be closed by its owner only. These were open when the process
        // began, so that nothing in it owns them, and there is no other thread that could have
        // opened another under the number since.
        unsafe { rustix::io::close(*number) };
    }
}

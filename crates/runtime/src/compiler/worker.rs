//! The process that compiles: it reads one order, writes one answer, and ends with its input.
//!
//! [`child`](super::child) starts it; it is the same program. The host holds its standard input
//! open as long as it wants an answer. When that closes, because the host has the answer, gave up
//! or was killed, the process ends, even if the compiler still runs: none is left behind.

use std::any::Any;
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use wasmtime::Engine;

use super::artefact::Artefact;
use super::confine;
use super::key::Identity;
use super::order::{Answer, Order, Task};
use super::survey::{Survey, survey};
use crate::component::{check_names, one_line};
use crate::{audited, engine};

/// The stack of the thread that compiles, in bytes: deeply nested code makes the compiler recurse.
const STACK: usize = 16 << 20;

/// Reads one order from `input`, answers it to `output`, and returns when `input` ends. Then the
/// process must exit, although a thread may still compile.
///
/// Call it first in a process, since it closes the inherited descriptors.
///
/// # Errors
/// There is no order, or the process cannot be confined.
pub fn serve(mut input: impl Read, mut output: impl Write + Send + 'static) -> io::Result<()> {
    audited::close_inherited();
    let order = Order::read(&mut input)?;
    confine::bound(order.cpu, order.memory)?;
    let mut component = Vec::new();
    input
        .by_ref()
        .take(order.size)
        .read_to_end(&mut component)?;
    if component.len() as u64 != order.size {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // Before the doors are closed: on some processors it reads files to know their features.
    let engine = engine::compiler(order.layout);
    thread::Builder::new()
        .name("compile".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let answer = match (confine::close_doors(), engine) {
                (Ok(()), Ok(engine)) => answer(&engine, &order, &component),
                (Err(error), _) => Answer::Failed(error.to_string()),
                (_, Err(error)) => Answer::Failed(format!("{error:#}")),
            };
            // A host that is gone wants no answer.
            let _ = answer.write(&mut output);
        })?;
    // Nothing more comes; this waits for the end.
    io::copy(&mut input, &mut io::sink())?;
    Ok(())
}

fn answer(engine: &Engine, order: &Order, component: &[u8]) -> Answer {
    if Identity::of(engine) != order.identity {
        // The program file was replaced while the host ran.
        return Answer::Failed(
            "the program on the disk is another version than the host that runs; restart the host"
                .to_owned(),
        );
    }
    work(engine, order.task, component)
}

/// Does a task, in this process. What is to be compiled and is no agent is answered with its names.
pub(super) fn work(engine: &Engine, task: Task, component: &[u8]) -> Answer {
    let interfaces = match survey(component) {
        Ok(Survey::Fine(interfaces)) => interfaces,
        Ok(Survey::Beyond(bound)) => return Answer::Beyond(bound),
        Err(error) => return Answer::Damaged(error.to_string()),
    };
    // What is no agent by its names is not compiled: the host says what is wrong with them.
    if task == Task::Look || check_names(&interfaces).is_err() {
        return Answer::Interfaces(interfaces);
    }
    let compile = AssertUnwindSafe(|| engine.precompile_component(component));
    match catch_unwind(compile) {
        Ok(Ok(code)) => Answer::Code(Artefact::made(code)),
        Ok(Err(error)) => Answer::Damaged(one_line(&error)),
        Err(panic) => Answer::Failed(format!("the compiler panicked: {}", said(&*panic))),
    }
}

/// The sentence of a panic.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

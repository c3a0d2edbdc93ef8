//! One child process that compiles.
//!
//! It is this program again, without anything of this process: no environment, no descriptors but
//! three pipes, the root as its folder, its own process group. It limits itself before it reads the
//! component ([`confine`](super::confine)). The caller limits the wall time: dropping the future
//! kills the child.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::order::{Answer, Order};
use crate::capabilities::clean;

/// The command of this program that a child is started with.
const COMMAND: &str = "compile-component";

/// How much of a child's standard error is kept, in bytes: a panic has a line or two.
const MAX_SAID: u64 = 8 << 10;

/// Longest part of it that becomes part of an error, in bytes.
const MAX_QUOTED: usize = 300;

/// Runs an order in a child process of this program.
///
/// # Errors
/// A sentence: the child cannot be started, or ended without an answer.
pub(super) async fn run(program: &Path, order: &Order, component: &[u8]) -> Result<Answer, String> {
    let mut child = start(program).map_err(|error| {
        format!(
            "its process cannot be started as {}: {error}",
            program.display()
        )
    })?;
    let (Some(input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err("its process has no pipes".to_owned());
    };
    let (answer, said) = tokio::join!(
        converse(&mut child, input, output, order, component),
        collect(errors)
    );
    let ended = child.wait().await;
    answer.map_err(|error| match ended {
        Ok(status) => why(status, &error, &said, order),
        Err(error) => format!("its process is lost: {error}"),
    })
}

fn start(program: &Path) -> io::Result<Child> {
    Command::new(program)
        .arg0("mistersmith")
        .arg(COMMAND)
        .env_clear()
        // The allocator would take a gibibyte at once, whatever the limit on memory is.
        .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// Writes the order and reads the answer. Then the child's standard input closes, which ends it.
async fn converse(
    child: &mut Child,
    mut input: ChildStdin,
    mut output: ChildStdout,
    order: &Order,
    component: &[u8],
) -> io::Result<Answer> {
    let feed = async {
        input.write_all(&order.head()).await?;
        input.write_all(component).await
    };
    // A child that ends early reads no more: its output and exit status say why.
    let (_, answer) = tokio::join!(feed, Answer::read(&mut output, order.most()));
    drop(input);
    if answer.is_err() {
        let _ = child.start_kill();
    }
    answer
}

/// The beginning of a child's standard error; the rest is read and dropped.
async fn collect(mut errors: impl AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    // What cannot be read is not said.
    let _ = (&mut errors).take(MAX_SAID).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    let text = String::from_utf8_lossy(&said);
    clean(text.trim(), MAX_QUOTED)
}

/// Why a child gave no answer.
fn why(status: ExitStatus, error: &io::Error, said: &str, order: &Order) -> String {
    let signal = status.signal();
    if signal == Some(Signal::XCPU.as_raw()) {
        return format!("it took more than {:?} of CPU time", order.cpu);
    }
    if said.contains("memory allocation of") {
        return format!("it took more than {} MiB of memory", order.memory >> 20);
    }
    let ended = match (signal, status.code()) {
        (Some(number), _) if number == Signal::KILL.as_raw() && said.is_empty() => {
            "its process was killed; the system does so when memory is short".to_owned()
        }
        (Some(number), _) => format!("its process ended by signal {number}"),
        (None, Some(0)) => format!("its process gave no answer: {error}"),
        (None, code) => format!("its process ended with code {}", code.unwrap_or_default()),
    };
    if said.is_empty() {
        return ended;
    }
    format!("{ended}: {said}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compiler::key::Identity;
    use crate::compiler::order::Task;
    use crate::engine::Layout;
    use std::time::Duration;

    #[test]
    fn the_end_of_a_child_becomes_a_sentence() {
        let order = Order {
            identity: Identity([0; 32]),
            layout: Layout::Reserved,
            task: Task::Compile,
            cpu: Duration::from_secs(120),
            memory: 300 << 20,
            size: 1,
        };
        let error = io::Error::from(io::ErrorKind::UnexpectedEof);
        let (xcpu, kill, abort) = (24, 9, 6);
        for (status, said, sentence) in [
            (xcpu, "", "it took more than 120s of CPU time"),
            (
                abort,
                "memory allocation of 4096 bytes failed",
                "it took more than 300 MiB of memory",
            ),
            (
                kill,
                "",
                "its process was killed; the system does so when memory is short",
            ),
            (
                abort,
                "thread 'compile' has overflowed its stack",
                "its process ended by signal 6: thread 'compile' has overflowed its stack",
            ),
            (
                1 << 8,
                "error: no",
                "its process ended with code 1: error: no",
            ),
            (0, "", "its process gave no answer: unexpected end of file"),
        ] {
            let status = ExitStatus::from_raw(status);
            assert_eq!(why(status, &error, said, &order), sentence);
        }
    }

    #[tokio::test]
    async fn what_a_child_says_is_bounded_and_harmless() {
        let mut long = b"\x1b[31m no \n".to_vec();
        long.extend(vec![b'x'; 1 << 20]);
        let said = collect(long.as_slice()).await;
        assert!(said.starts_with("[31m no"), "{said}");
        assert!(said.len() <= MAX_QUOTED + '…'.len_utf8());
    }
}

//! WASI 0.2 with nothing granted: no files, no sockets, no names, no environment, no arguments.
//!
//! Clocks tell the time; sleeping ends with the call. Standard input is closed; standard output
//! and error become log lines of the agent.

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use tracing::Level;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder};

use super::AgentContext;
use mistersmith_core::limits::{MAX_LOG_LINE, MAX_RANDOM};

/// The version of WASI that is offered; any 0.2 of a component fits.
pub(crate) const WASI_VERSION: &str = "0.2";

/// The WASI interfaces that are offered.
pub(crate) const WASI_INTERFACES: [&str; 27] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The WASI state of a new instance.
pub(crate) fn wasi_context(agent: &Arc<AgentContext>) -> WasiCtx {
    let lines = |level| Output::new(Arc::clone(agent), level);
    WasiCtxBuilder::new()
        .stdout(lines(Level::INFO))
        .stderr(lines(Level::WARN))
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .max_random_size(MAX_RANDOM)
        .build()
}

/// Standard output or error of an instance. All of its handles write to the same line.
#[derive(Clone)]
struct Output(Arc<Mutex<Lines>>);

impl Output {
    fn new(agent: Arc<AgentContext>, level: Level) -> Self {
        Self(Arc::new(Mutex::new(Lines {
            agent,
            level,
            line: Vec::new(),
            cut: false,
        })))
    }
}

/// A line that is not yet complete.
struct Lines {
    agent: Arc<AgentContext>,
    level: Level,
    line: Vec<u8>,
    /// The rest of this line is dropped.
    cut: bool,
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, ends) = match part.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (part, false),
            };
            self.add(text);
            if ends {
                self.end();
            }
        }
    }

    /// Takes what fits; one byte more than a line may have, so that the log shows that it was cut.
    fn add(&mut self, text: &[u8]) {
        let room = (MAX_LOG_LINE + 1).saturating_sub(self.line.len());
        let taken = text.get(..room).unwrap_or(text);
        if !self.cut {
            self.line.extend_from_slice(taken);
        }
        self.cut |= taken.len() < text.len();
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.cut = false;
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            self.agent.write_line(self.level, text.trim_end(), &[], "");
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    /// Asked for by WASI 0.3 only, which is not linked.
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.lock().write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    /// Always room: what is too much is dropped, and a plugin that prints is never held up.
    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LOG_LINE)
    }
}

impl Pollable for Output {
    fn ready<'a, 'b>(&'a mut self) -> Pin<Box<dyn Future<Output = ()> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(ready(()))
    }
}

//! The protocol between the host and the process that compiles.
//!
//! An order is a head of fixed size and the component behind it. An answer is a kind, a length and
//! as many bytes. Both sides are the same program, which the identity in the head proves.

use std::io::{self, Read, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::artefact::Artefact;
use super::key::Identity;
use crate::engine::Layout;
use mistersmith_core::limits::{CODE_BASE, CODE_PER_BYTE, MAX_COMPONENT, MAX_MACHINE_CODE};

/// Longest answer that is no machine code, in bytes: the names of interfaces, or a sentence.
const MAX_TEXT: u64 = 256 << 10;

/// Bytes of a head: identity, layout, task, CPU time in seconds, memory, bytes of the component.
pub(super) const HEAD: usize = 32 + 5 * 8;

/// The task of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Make machine code of it.
    Compile,
    /// List its imports and exports.
    Look,
}

/// The head of an order: the task and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) identity: Identity,
    pub(super) layout: Layout,
    pub(super) task: Task,
    /// CPU time, in whole seconds.
    pub(super) cpu: Duration,
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Bytes of the component.
    pub(super) size: u64,
}

/// The names of what a component imports and exports, with versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Interfaces {
    pub(crate) imports: Vec<String>,
    pub(crate) exports: Vec<String>,
}

impl Interfaces {
    /// Of these names.
    pub(crate) fn new<'a>(
        imports: impl Iterator<Item = &'a str>,
        exports: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut imports: Vec<String> = imports.map(str::to_owned).collect();
        imports.sort_unstable();
        Self {
            imports,
            exports: exports.map(str::to_owned).collect(),
        }
    }
}

/// The answer to an order.
pub(super) enum Answer {
    /// Machine code.
    Code(Artefact),
    /// Its imports and exports.
    Interfaces(Interfaces),
    /// The component is at fault: the engine cannot read it.
    Damaged(String),
    /// The component is at fault: it is beyond a bound.
    Beyond(String),
    /// The compiler is at fault.
    Failed(String),
}

impl Order {
    /// Bytes of machine code that may come of it.
    pub(super) fn most(&self) -> u64 {
        let most = CODE_BASE.saturating_add(self.size.saturating_mul(CODE_PER_BYTE));
        most.min(MAX_MACHINE_CODE)
    }

    pub(super) fn head(&self) -> [u8; HEAD] {
        let task = match self.task {
            Task::Compile => 0_u64,
            Task::Look => 1,
        };
        let layout = match self.layout {
            Layout::Reserved => 0_u64,
            Layout::OnDemand => 1,
        };
        let mut head = [0; HEAD];
        let numbers = [layout, task, self.cpu.as_secs(), self.memory, self.size];
        let numbers = numbers.map(u64::to_le_bytes);
        let bytes = self.identity.0.iter().chain(numbers.as_flattened());
        for (place, byte) in head.iter_mut().zip(bytes) {
            *place = *byte;
        }
        head
    }

    /// Reads a head.
    ///
    /// # Errors
    /// The input ends, or is none.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut identity = [0; 32];
        input.read_exact(&mut identity)?;
        let mut number = || {
            let mut bytes = [0; 8];
            input.read_exact(&mut bytes)?;
            Ok::<u64, io::Error>(u64::from_le_bytes(bytes))
        };
        let layout = match number()? {
            0 => Layout::Reserved,
            1 => Layout::OnDemand,
            _ => return Err(wrong("an unknown layout")),
        };
        let (task, cpu, memory, size) = (number()?, number()?, number()?, number()?);
        let task = match task {
            0 => Task::Compile,
            1 => Task::Look,
            _ => return Err(wrong("an unknown task")),
        };
        if size > MAX_COMPONENT {
            return Err(wrong("more bytes than a component may have"));
        }
        Ok(Self {
            identity: Identity(identity),
            layout,
            task,
            cpu: Duration::from_secs(cpu),
            memory,
            size,
        })
    }
}

impl Answer {
    /// Writes it to the host.
    pub(super) fn write(&self, output: &mut impl Write) -> io::Result<()> {
        let text;
        let (kind, body) = match self {
            Self::Code(artefact) => (0, artefact.code()),
            Self::Interfaces(interfaces) => {
                text = serde_json::to_vec(interfaces)?;
                (1, text.as_slice())
            }
            Self::Damaged(why) => (2, why.as_bytes()),
            Self::Beyond(why) => (3, why.as_bytes()),
            Self::Failed(why) => (4, why.as_bytes()),
        };
        output.write_all(&[kind])?;
        output.write_all(&(body.len() as u64).to_le_bytes())?;
        output.write_all(body)?;
        output.flush()
    }

    /// Reads the answer of a child process.
    ///
    /// # Errors
    /// There is no answer, more than `most` bytes of machine code, or something else.
    pub(super) async fn read(input: &mut (impl AsyncRead + Unpin), most: u64) -> io::Result<Self> {
        let kind = input.read_u8().await?;
        let length = input.read_u64_le().await?;
        if length > if kind == 0 { most } else { MAX_TEXT } {
            return Err(wrong("an answer that is too long"));
        }
        let mut body = Vec::new();
        input.take(length).read_to_end(&mut body).await?;
        if body.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
        match kind {
            0 => Ok(Self::Code(Artefact::made(body))),
            1 => Ok(Self::Interfaces(serde_json::from_slice(&body)?)),
            2 => Ok(Self::Damaged(text(&body))),
            3 => Ok(Self::Beyond(text(&body))),
            4 => Ok(Self::Failed(text(&body))),
            _ => Err(wrong("an unknown answer")),
        }
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use mistersmith_testing::fuzz;

    #[test]
    fn an_order_arrives_as_it_was_given() {
        for (task, layout) in [
            (Task::Compile, Layout::Reserved),
            (Task::Look, Layout::OnDemand),
        ] {
            let order = Order {
                identity: Identity([9; 32]),
                layout,
                task,
                cpu: Duration::from_secs(120),
                memory: 1 << 32,
                size: 17,
            };
            let head = order.head();
            assert_eq!(Order::read(&mut head.as_slice()).unwrap(), order);
            for cut in 0..HEAD {
                assert!(Order::read(&mut head.split_at(cut).0).is_err(), "{cut}");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_arrives_whole_or_not_at_all() {
        let interfaces = Interfaces {
            imports: vec!["a:b/c@0.1.0".to_owned()],
            exports: vec!["line\nend".to_owned()],
        };
        for answer in [
            Answer::Code(Artefact::made(b"code".to_vec())),
            Answer::Interfaces(interfaces),
            Answer::Damaged("no".to_owned()),
            Answer::Beyond("too much".to_owned()),
            Answer::Failed("oh".to_owned()),
        ] {
            let mut sent = Vec::new();
            answer.write(&mut sent).unwrap();
            let came = Answer::read(&mut sent.as_slice(), 4).await.unwrap();
            match (&answer, &came) {
                (Answer::Code(one), Answer::Code(other)) => assert_eq!(one.code(), other.code()),
                (Answer::Interfaces(one), Answer::Interfaces(other)) => assert_eq!(one, other),
                (Answer::Damaged(one), Answer::Damaged(other))
                | (Answer::Beyond(one), Answer::Beyond(other))
                | (Answer::Failed(one), Answer::Failed(other)) => assert_eq!(one, other),
                _ => panic!("another kind"),
            }
            for cut in 0..sent.len() {
                let read = Answer::read(&mut sent.split_at(cut).0, 4).await;
                assert!(read.is_err(), "{cut}");
            }
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_not_read() {
        for (kind, length) in [(0, 101), (2, MAX_TEXT + 1), (9, 0)] {
            let mut sent = vec![kind];
            sent.extend(length.to_le_bytes());
            sent.resize(1 << 20, 0);
            let read = Answer::read(&mut sent.as_slice(), 100).await;
            assert!(read.is_err(), "{kind}");
        }
    }

    /// Answers of a compromised child process, and orders of a host.
    #[test]
    fn fuzz_order() {
        let tokio = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        fuzz("order", &["{\"imports\":[", "\"exports\":["], |bytes| {
            if let Ok(Answer::Code(code)) = tokio.block_on(Answer::read(&mut &*bytes, 1000)) {
                assert!(code.code().len() <= 1000);
            }
            if let Ok(order) = Order::read(&mut &*bytes) {
                assert!(order.size <= MAX_COMPONENT && order.most() <= MAX_MACHINE_CODE);
            }
        });
    }
}

//! A process that calls the server in memory: its implementation of each port, and its held
//! messages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;

use mistersmith_core::names::AgentId;
use mistersmith_nats::{AckPort, Acker, DeliveryInfo, Entry, Stored, TransportError};
use mistersmith_runtime::{Call, Reply};

use super::super::ack_progress::AckProgress;
use super::super::attempts::{Asked, AttemptStore, Attempts, Register};
use super::super::{Completion, FinalFailure, HeldMessage};
use super::{Fault, Op, Server, State, delivery, rule};

/// A process's connection to the server. When the process is dead, no call gets through.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    server: Server,
    alive: Arc<AtomicBool>,
}

impl Client {
    pub(crate) fn is_alive(&self) -> bool {
        self.alive.load(Ordering::Relaxed)
    }

    pub(crate) fn die(&self) {
        self.alive.store(false, Ordering::Relaxed);
    }

    /// Logs an effect whose call is not awaited.
    pub(crate) fn note(&self, op: Op) {
        if self.is_alive() {
            self.server.state().done.push((Instant::now(), op));
        }
    }

    /// Calls the server; `effect` is the effect on its state.
    pub(crate) async fn call<T>(
        &self,
        op: Op,
        effect: impl FnOnce(&mut State) -> Result<T, TransportError> + Send,
    ) -> Result<T, TransportError> {
        tokio::task::yield_now().await;
        if !self.is_alive() {
            return std::future::pending().await;
        }
        let done = || {
            let mut state = self.server.state();
            state.done.push((Instant::now(), op));
            effect(&mut state)
        };
        let fault = self.server.state().asked(op);
        match fault {
            None => done(),
            Some(Fault::Lost(after)) => {
                tokio::time::sleep(after).await;
                Err(TransportError::Unavailable("no connection".to_owned()))
            }
            Some(Fault::AnswerLost(after)) => {
                let _ = done();
                tokio::time::sleep(after).await;
                Err(TransportError::Timeout)
            }
            Some(Fault::Refused) => Err(TransportError::TooLarge("too large".to_owned())),
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::DiesBefore) => {
                self.die();
                std::future::pending().await
            }
            Some(Fault::DiesAfter) => {
                let _ = done();
                self.die();
                std::future::pending().await
            }
        }
    }

    async fn acknowledge(&self, reply: &str, payload: Bytes) -> Result<(), TransportError> {
        let payload = String::from_utf8(payload.to_vec()).unwrap();
        let op = match payload.as_str() {
            "+ACK" => Op::Ack,
            "+TERM" => Op::Term,
            "+WPI" => Op::Progress,
            _ => Op::Nak,
        };
        self.call(op, |state| {
            state.acknowledged(reply, &payload);
            Ok(())
        })
        .await
    }
}

impl AckPort for Client {
    fn send<'a>(
        &'a self,
        reply: &'a str,
        payload: Bytes,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(self.acknowledge(reply, payload))
    }

    fn request<'a>(
        &'a self,
        reply: &'a str,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(async move {
            let answer = tokio::time::timeout(timeout, self.acknowledge(reply, payload));
            answer.await.unwrap_or(Err(TransportError::Timeout))
        })
    }
}

impl AttemptStore for Client {
    fn get<'a>(&'a self, key: &'a str) -> Asked<'a, Option<Entry>> {
        Box::pin(self.call(Op::ReadRecord, |state| Ok(state.keys.get(key).cloned())))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes) -> Asked<'a, ()> {
        Box::pin(self.call(Op::WriteRegister, move |state| {
            state.write(key, value);
            Ok(())
        }))
    }

    fn update<'a>(&'a self, key: &'a str, value: Bytes, revision: u64) -> Asked<'a, u64> {
        Box::pin(self.call(Op::WriteRecord, move |state| {
            let newest = state.keys.get(key).map_or(0, |entry| entry.revision);
            match newest == revision {
                true => Ok(state.write(key, value)),
                false => Err(TransportError::Conflict),
            }
        }))
    }

    fn purge<'a>(&'a self, pattern: &'a str) -> Asked<'a, ()> {
        Box::pin(self.call(Op::Purge, move |state| {
            let start = pattern.trim_end_matches('>');
            state.keys.retain(|key, _| !key.starts_with(start));
            Ok(())
        }))
    }

    fn registers(&self) -> Asked<'_, Vec<Bytes>> {
        Box::pin(self.call(Op::ReadRegisters, |state| {
            let open = state
                .keys
                .iter()
                .filter(|(key, _)| key.starts_with("open."));
            Ok(open.map(|(_, entry)| entry.value.clone()).collect())
        }))
    }

    fn largest_value(&self) -> usize {
        512 * 1024
    }
}

impl Completion for Client {
    fn is_cancelled(&self) -> Option<BoxFuture<'_, Result<bool, TransportError>>> {
        Some(Box::pin(
            self.call(Op::IsCancelled, |state| Ok(state.cancelled)),
        ))
    }

    fn store<'a>(
        &'a self,
        _agent: &'a AgentId,
        _call: &'a Call,
        held: &'a HeldMessage,
        reply: &'a Reply,
    ) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(self.call(Op::Output, move |state| {
            let (id, payload) = (held.info.output_id("result"), reply.payload.clone());
            state.writes.push((id.clone(), payload.clone()));
            state.outputs.entry(id).or_insert(payload);
            Ok(())
        }))
    }

    fn failed<'a>(
        &'a self,
        _failure: FinalFailure<'a>,
        _letter: &'a Stored,
    ) -> Option<BoxFuture<'a, Result<(), TransportError>>> {
        Some(Box::pin(self.call(Op::Report, |_| Ok(()))))
    }
}

/// One process: its held messages and its attempts.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) client: Client,
    pub(crate) ack_progress: Arc<AckProgress>,
    pub(crate) attempts: Attempts,
    pub(crate) register: Arc<Register>,
    pub(crate) agent: AgentId,
}

impl Process {
    pub(crate) fn start(server: &Server, host: &str) -> Self {
        let client = Client {
            server: server.clone(),
            alive: Arc::new(AtomicBool::new(true)),
        };
        let ack_progress = Arc::new(AckProgress::default());
        drop(ack_progress.start());
        let attempts = Attempts::over(Arc::new(client.clone()), host.parse().unwrap());
        let agent: AgentId = "probe-001".parse().unwrap();
        Self {
            register: attempts.register(&agent),
            client,
            ack_progress,
            attempts,
            agent,
        }
    }

    /// Holds the message; none when it is already held.
    pub(crate) fn hold(&self, info: DeliveryInfo, max_deliver: u32) -> Option<Box<HeldMessage>> {
        let reply = format!("{}.{}", info.stream_sequence, info.deliveries);
        let acker = Acker::over(Arc::new(self.client.clone()), reply);
        let in_progress = self.ack_progress.keep(&info, &acker)?;
        Some(Box::new(HeldMessage {
            acker,
            info,
            rule: Arc::new(rule(max_deliver)),
            tries: Default::default(),
            in_progress,
            completion: Some(Arc::new(self.client.clone())),
            claimed: None,
            idempotence_key: None,
            fence: None,
        }))
    }

    /// Begins an attempt at a message.
    pub(crate) async fn begin(&self, held: &mut HeldMessage) -> Result<(), TransportError> {
        let begun = self
            .attempts
            .begin(&self.register, &self.agent, held.counted());
        begun.await
    }

    /// A first delivery whose attempt has begun.
    pub(crate) async fn begun(&self, sequence: u64, max_deliver: u32) -> Box<HeldMessage> {
        let mut held = self.hold(delivery(sequence, 1), max_deliver).unwrap();
        self.begin(&mut held).await.unwrap();
        held
    }
}

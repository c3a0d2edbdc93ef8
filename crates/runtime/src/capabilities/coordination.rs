//! `coordination`: questions to many, pipelines, events of workflows, elections, circuits.
//!
//! The subjects are made here from checked tokens; the guest names no other. Scatters, elections
//! and circuits, which need more than a message, are run by the host through [`Coordination`].

mod events;
mod port;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Deserialize;
use tokio_util::task::AbortOnDropHandle;

pub use port::{
    CircuitState, Coordination, GatherAnswer, GatherStatus, Gathered, Gathering, Leadership,
    Question,
};

use super::context::owned;
use super::messaging::{busy, forward};
use super::{Guest, Source};
use crate::bindings::mistersmith::agent::coordination::{self as wit, Error, Header, Message};
use events::{Found, Until};
use mistersmith_core::limits::{GATHERED_PART, MAX_EXPECTED, MAX_GATHERED_BYTES, MAX_STARTED};
use mistersmith_core::names::{AgentId, ForeignId, quoted};
use mistersmith_core::permissions::{Access, Permissions, Refusal};
use mistersmith_nats::within;
use mistersmith_nats::{CLAIM, CLAIM_SIZE, Claim, ClaimError, Connection, Headers};

/// Where hosts share the state of circuits.
const CIRCUITS: &str = "CIRCUITS";

impl wit::Host for Guest {
    async fn scatter(
        &mut self,
        payload: Vec<u8>,
        headers: Vec<Header>,
        gathering: wit::Gathering,
    ) -> Result<wit::Gathered, Error> {
        let request = nuid::next().to_string();
        let subject = format!("scatter.{request}.task");
        let admitted = self.admit("scatter", &subject, &payload, &headers, |may, subject| {
            may.publish(subject).map_err(|no| no.with("*", &request))
        });
        let headers = admitted.await?;
        let expected = self.expected(&gathering)?;
        let _waiting = self.wait_slot()?;
        let limits = &self.context.limits;
        let question = Question {
            request,
            payload: Bytes::from(payload),
            headers,
            asking: Some(self.context.agent.clone()),
            // The sender of the current message does not wait longer.
            until: self
                .until(gathering.timeout_ms)
                .wish
                .min(self.request_patience()),
            min: gathering.min.map(|min| min as usize),
            expected,
            answer_bytes: limits.payload,
            // What does not fit into the guest's memory would end it.
            total_bytes: MAX_GATHERED_BYTES.min(limits.memory / GATHERED_PART) as usize,
        };
        let gathered = self
            .context
            .coordination
            .scatter(self.connection()?, question);
        self.context.counters.sent.add_one();
        let gathered = gathered.await?;
        self.context
            .counters
            .received
            .add(gathered.answers.len() as u64);
        Ok(gathered.into())
    }

    async fn start_pipeline(
        &mut self,
        stage: String,
        workflow: Option<String>,
        payload: Vec<u8>,
        headers: Vec<Header>,
    ) -> Result<String, Error> {
        let made = workflow.is_none().then(|| nuid::next().to_string());
        self.token("start-pipeline", &stage)?;
        let workflow = match workflow {
            Some(workflow) => workflow,
            None => made.clone().unwrap_or_default(),
        };
        self.token("start-pipeline", &workflow)?;
        let subject = format!("pipeline.{workflow}.01.{stage}");
        let permitted = |may: &Permissions, subject: &str| {
            let allowed = may.publish(subject);
            allowed.map_err(|no| match &made {
                Some(made) => no.with("*", made),
                None => no,
            })
        };
        let headers = self
            .admit("start-pipeline", &subject, &payload, &headers, permitted)
            .await?;
        self.store(&subject, headers, payload).await?;
        if self.started.len() == MAX_STARTED {
            self.started.pop_front();
        }
        self.started.push_back(workflow.clone());
        Ok(workflow)
    }

    async fn pipeline_result(
        &mut self,
        workflow: String,
        timeout_ms: Option<u32>,
    ) -> Result<Option<Message>, Error> {
        self.token("pipeline-result", &workflow)?;
        if !self.started.contains(&workflow) {
            return Err(Error::NotFound(format!(
                "this instance has not started the workflow {}",
                quoted(&workflow)
            )));
        }
        let subject = format!("pipeline.{workflow}.complete");
        let Some(mut found) = self.awaited(&subject, timeout_ms).await? else {
            return Ok(None);
        };
        self.claimed(&mut found).await?;
        Ok(Some(Message {
            subject: found.subject,
            headers: owned(&found.headers),
            payload: found.payload.into(),
        }))
    }

    async fn signal(
        &mut self,
        workflow: String,
        event: String,
        payload: Vec<u8>,
    ) -> Result<(), Error> {
        let subject = self.event("signal", &workflow, &event)?;
        let headers = self
            .admit("signal", &subject, &payload, &[], Permissions::publish)
            .await?;
        self.store(&subject, headers, payload).await
    }

    async fn await_event(
        &mut self,
        workflow: String,
        event: String,
        timeout_ms: Option<u32>,
    ) -> Result<Option<Vec<u8>>, Error> {
        let subject = self.event("await-event", &workflow, &event)?;
        let allowed = self.context.permissions.subscribe(&subject, None);
        allowed.map_err(|refusal| self.context.refuse("await-event", refusal))?;
        let found = self.awaited(&subject, timeout_ms).await?;
        Ok(found.map(|found| found.payload.into()))
    }

    async fn watch(&mut self, workflow: String) -> Result<(), Error> {
        self.token("watch", &workflow)?;
        let pattern = format!("coord.{workflow}.*");
        let context = &self.context;
        let allowed = context.permissions.subscribe(&pattern, None);
        allowed.map_err(|refusal| context.refuse("watch", refusal))?;
        if self.watches.contains_key(&workflow) {
            return Ok(());
        }
        self.room_for_subscription()?;
        let connection = self.connection()?;
        context.take_publish().await?;
        let subscribed = connection.subscribe_within(&pattern, None, context.rates.inbound());
        let subscribed = within(self.patience(), subscribed).await;
        let subscription = subscribed.ok_or_else(busy)??;
        let source = Source::Workflow(Arc::from(workflow.as_str()));
        let task = tokio::spawn(forward(source, subscription, Arc::clone(context)));
        self.watches.insert(workflow, AbortOnDropHandle::new(task));
        Ok(())
    }

    fn unwatch(&mut self, workflow: String) -> Result<(), Error> {
        match self.watches.remove(&workflow) {
            Some(_ended_when_dropped) => Ok(()),
            None => Err(Error::NotFound(format!(
                "the agent does not watch the workflow {}",
                quoted(&workflow)
            ))),
        }
    }

    fn leadership(&mut self) -> Option<wit::Standing> {
        let context = &self.context;
        let known = context.coordination.leadership(&context.agent)?;
        Some(wit::Standing {
            domain: known.domain,
            // The clock of the term may have stood still while the machine slept.
            leading: known.leading && context.fence.is_open(),
            term: known.term,
        })
    }

    async fn circuit(&mut self, service: String) -> Result<wit::CircuitState, Error> {
        let context = &self.context;
        if let Some(own) = context.coordination.own_circuit(&context.plugin, &service) {
            return Ok(own.into());
        }
        let allowed = context.permissions.kv(CIRCUITS, &service, Access::Read);
        allowed.map_err(|refusal| context.refuse("circuit", refusal))?;
        let kv = self.bucket(CIRCUITS).await?;
        let shared = self.wait(kv.get(&service)).await?;
        let Some(shared) = shared else {
            return Ok(wit::CircuitState::Closed);
        };
        let state = read_circuit(&shared.value);
        state.map(Into::into).ok_or_else(|| {
            Error::Other(format!(
                "the state of the circuit {} cannot be read",
                quoted(&service)
            ))
        })
    }
}

impl Guest {
    /// Waits for a stored message, as one of the requests that the plugin may have in flight.
    async fn awaited(
        &self,
        subject: &str,
        timeout_ms: Option<u32>,
    ) -> Result<Option<Found>, Error> {
        let connection = self.connection()?;
        self.context.take_publish().await?;
        let _waiting = self.wait_slot()?;
        let until = self.until(timeout_ms);
        let found =
            events::stored(connection, subject, until, self.context.rates.inbound()).await?;
        let Some(found) = found else { return Ok(None) };
        self.context.check_size("message", found.payload.len())?;
        self.context.counters.received.add_one();
        Ok(Some(found))
    }

    /// Stores a message under an id, so that a retry after a lost acknowledgement stores no second
    /// one.
    async fn store(&self, subject: &str, headers: Headers, payload: Vec<u8>) -> Result<(), Error> {
        let connection: &Connection = self.connection()?;
        self.context.counters.sent.add_one();
        let id = nuid::next();
        let payload = Bytes::from(payload);
        let stored = async {
            if Claim::is_for(subject) {
                return connection
                    .store_any(subject, id.as_str(), headers, payload)
                    .await;
            }
            connection
                .store(subject, id.as_str(), headers, payload)
                .await
        };
        within(self.patience(), stored)
            .await
            .ok_or(Error::Timeout)??;
        Ok(())
    }

    /// Puts the payload into a message that says where it lies.
    async fn claimed(&self, found: &mut Found) -> Result<(), Error> {
        let claim = match Claim::of(&found.headers) {
            None => return Ok(()),
            Some(claim) => claim.map_err(|error| Error::Other(error.to_string()))?,
        };
        let most = self.context.limits.payload;
        let fetched = claim.fetch(self.connection()?, &found.subject, most);
        let fetched = within(self.patience(), fetched)
            .await
            .ok_or(Error::Timeout)?;
        found.payload = fetched.map_err(|error| match error {
            ClaimError::TooLarge(size) => self.context.too_large("message", size),
            ClaimError::Missing(text) => Error::NotFound(text),
            ClaimError::Bad(text) => Error::Other(text),
            ClaimError::Later(error) => error.into(),
        })?;
        found.headers.remove(CLAIM);
        found.headers.remove(CLAIM_SIZE);
        Ok(())
    }

    fn until(&self, timeout_ms: Option<u32>) -> Until {
        let patience = self.patience();
        let wish = timeout_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
        Until {
            wish: wish.map_or(patience, |wish| wish.min(patience)),
            patience,
        }
    }

    fn event(&self, action: &'static str, workflow: &str, event: &str) -> Result<String, Error> {
        self.token(action, workflow)?;
        self.token(action, event)?;
        Ok(format!("coord.{workflow}.{event}"))
    }

    /// Checks that this is one token of a subject.
    fn token(&self, action: &'static str, text: &str) -> Result<(), Error> {
        let checked = ForeignId::check(text).map_err(Refusal::from);
        checked.map_err(|refusal| self.context.refuse(action, refusal))
    }

    /// The agents whose answers a gathering awaits, checked.
    fn expected(&self, gathering: &wit::Gathering) -> Result<Vec<AgentId>, Error> {
        let invalid = |text: String| self.context.refuse("scatter", Refusal::Invalid(text));
        let named = gathering.expected.len();
        if named > MAX_EXPECTED {
            return Err(invalid(format!(
                "{named} agents are expected, and at most {MAX_EXPECTED} can be"
            )));
        }
        let mut expected: Vec<AgentId> = Vec::with_capacity(named);
        for text in &gathering.expected {
            let agent: AgentId = text.parse().map_err(|no| invalid(format!("{no}")))?;
            if agent == self.context.agent {
                return Err(invalid(format!(
                    "agent `{agent}` asks, so it is not asked and cannot be expected"
                )));
            }
            expected.push(agent);
        }
        expected.sort();
        expected.dedup();
        match gathering.min {
            Some(0) => Err(invalid(
                "`min` is 0: at least one answer is gathered".to_owned(),
            )),
            Some(min) if named > 0 && min as usize > expected.len() => Err(invalid(format!(
                "`min` is {min}, and only {} agents are expected",
                expected.len()
            ))),
            _ => Ok(expected),
        }
    }
}

/// The state in a value of CIRCUITS.
fn read_circuit(value: &[u8]) -> Option<CircuitState> {
    #[derive(Deserialize)]
    struct Shared {
        state: String,
    }
    let shared: Shared = serde_json::from_slice(value).ok()?;
    CircuitState::parse(&shared.state)
}

impl From<Gathered> for wit::Gathered {
    fn from(gathered: Gathered) -> Self {
        let answer = |answer: GatherAnswer| wit::Answer {
            agent_id: answer.agent.into(),
            payload: answer.payload.into(),
            content_type: answer.content_type,
        };
        let no_answer = |(agent, reason): (AgentId, String)| wit::NoAnswer {
            agent_id: agent.into(),
            reason,
        };
        Self {
            request: gathered.request,
            status: match gathered.status {
                GatherStatus::Complete => wit::GatherStatus::Complete,
                GatherStatus::Partial => wit::GatherStatus::Partial,
                GatherStatus::Timeout => wit::GatherStatus::Timeout,
            },
            answers: gathered.answers.into_iter().map(answer).collect(),
            failed: gathered.failed.into_iter().map(no_answer).collect(),
            missing: gathered.missing.into_iter().map(String::from).collect(),
        }
    }
}

impl From<CircuitState> for wit::CircuitState {
    fn from(state: CircuitState) -> Self {
        match state {
            CircuitState::Closed => Self::Closed,
            CircuitState::Open => Self::Open,
            CircuitState::HalfOpen => Self::HalfOpen,
        }
    }
}

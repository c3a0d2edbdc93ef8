//! The interface `coordination` on a mock bus: a test sets the answers, an agent calls the
//! functions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::imports::{call, sendable, sent};
use super::payload::Payload;
use super::record::{Call, Responder, Sent};
use super::state::State;
use super::{Bus, check};
use crate::agent::Leadership;
use crate::coordination::{Answer, Circuit, Failed, Gathered, Gathering, Status};
use crate::error::{CallError, Result};
use crate::messaging;
use crate::reply::{Body, Reply};

type Headers = [(String, String)];

/// The stream of the coordination subjects.
const STREAM: &str = "COORDINATION";
/// The most agents that can be expected.
const MAX_EXPECTED: usize = 1000;

impl Bus {
    /// Answers the questions of [`coordination::scatter`](crate::coordination::scatter) as this
    /// agent. An error is a failure of the agent, [`Reply::none`] sends nothing. The agents
    /// answer in the order in which they were named here.
    pub fn answer_scatter(
        &self,
        agent_id: &str,
        answer: impl FnMut(&Sent) -> Result<Reply, CallError> + Send + 'static,
    ) {
        let answer: Responder = Arc::new(Mutex::new(answer));
        let worker = (agent_id.to_owned(), answer);
        self.state().workflows.workers.push(worker);
    }

    /// Makes the result of the pipelines that begin with this stage from their input; without it
    /// they have no result. An error is returned to whoever waits.
    pub fn answer_pipeline(
        &self,
        stage: &str,
        answer: impl FnMut(&Sent) -> Result<Reply, CallError> + Send + 'static,
    ) {
        let answer: Responder = Arc::new(Mutex::new(answer));
        let pipelines = &mut self.state().workflows.pipelines;
        pipelines.insert(stage.to_owned(), answer);
    }

    /// Stores an event of a workflow, as somebody else would.
    /// [`Running::coordinate`](super::Running::coordinate) tells an agent of one.
    pub fn event(&self, workflow: &str, event: &str, payload: impl Into<Payload>) {
        let subject = format!("coord.{workflow}.{event}");
        let payload = payload.into().into_bytes();
        self.state().workflows.events.insert(subject, payload);
    }

    /// The workflows that are watched: the id of the agent, and the workflow.
    #[must_use]
    pub fn watched(&self) -> Vec<(String, String)> {
        self.state().workflows.watched.clone()
    }

    /// Sets what [`coordination::leadership`](crate::coordination::leadership) says;
    /// [`Running::lead`](super::Running::lead) tells an agent of a change.
    pub fn set_leadership(&self, leadership: Option<Leadership>) {
        self.state().workflows.leadership = leadership;
    }

    /// Sets the state of a circuit; all are closed otherwise.
    pub fn set_circuit(&self, service: &str, state: Circuit) {
        let circuits = &mut self.state().workflows.circuits;
        circuits.insert(service.to_owned(), state);
    }
}

pub(crate) fn scatter(
    payload: &[u8],
    headers: &Headers,
    gathering: Gathering,
) -> Result<Gathered, CallError> {
    let (question, request, workers) = call(Call::Scatter, |state, agent| {
        let request = state.workflows.next_id();
        let subject = format!("scatter.{request}.task");
        sendable(state, &subject, payload, headers)?;
        sensible(&gathering, agent)?;
        let mut question = sent(agent, &subject, payload, headers);
        let timeout = gathering.timeout_ms.map(u64::from);
        question.timeout = timeout.map(std::time::Duration::from_millis);
        state.published.push(question.clone());
        let others = state.workflows.workers.iter().filter(|(id, _)| id != agent);
        Ok((question, request, others.cloned().collect::<Vec<_>>()))
    })?;
    let expected: BTreeSet<String> = gathering.expected.into_iter().collect();
    let wanted = gathering
        .min
        .map_or(expected.len().max(1), |min| min as usize);
    let (mut answers, mut failed): (Vec<Answer>, Vec<Failed>) = Default::default();
    // The state is not locked here: an answer may use the bus, and other agents on it.
    for (agent_id, answer) in workers {
        if !expected.is_empty() && !expected.contains(&agent_id) {
            continue;
        }
        if gathering.min.is_some() && answers.len() >= wanted {
            break;
        }
        match answered(&answer, &question) {
            Ok(None) => {}
            Ok(Some(body)) => answers.push(Answer {
                agent_id,
                payload: body.payload,
                content_type: body.content_type,
            }),
            Err(error) => failed.push(Failed {
                agent_id,
                reason: error.to_string(),
            }),
        }
    }
    let silent = |id: &String| !answers.iter().any(|answer| answer.agent_id == *id);
    let missing = expected.into_iter().filter(silent).collect();
    Ok(Gathered {
        request,
        status: match answers.len() {
            0 => Status::Timeout,
            some if some >= wanted => Status::Complete,
            _ => Status::Partial,
        },
        answers,
        failed,
        missing,
    })
}

fn answered(answer: &Responder, question: &Sent) -> Result<Option<Body>, CallError> {
    let mut answer = answer.lock().unwrap_or_else(|e| e.into_inner());
    Ok(answer(question)?.body)
}

fn sensible(gathering: &Gathering, agent: &str) -> Result<(), CallError> {
    let invalid = |text: String| Err(CallError::Invalid(text));
    let expected: BTreeSet<&String> = gathering.expected.iter().collect();
    if gathering.expected.len() > MAX_EXPECTED {
        return invalid(format!("more than {MAX_EXPECTED} agents are expected"));
    }
    for id in &expected {
        check::agent(id)?;
        if *id == agent {
            return invalid(format!("agent `{id}` asks, so it cannot be expected"));
        }
    }
    match gathering.min {
        Some(0) => invalid("`min` is 0".to_owned()),
        Some(min) if !expected.is_empty() && min as usize > expected.len() => invalid(format!(
            "`min` is {min}, and only {} agents are expected",
            expected.len()
        )),
        _ => Ok(()),
    }
}

pub(crate) fn start_pipeline(
    stage: &str,
    workflow: Option<&str>,
    payload: &[u8],
    headers: &Headers,
) -> Result<String, CallError> {
    call(Call::StartPipeline, |state, agent| {
        check::id(stage)?;
        let workflow = match workflow {
            Some(workflow) => workflow.to_owned(),
            None => state.workflows.next_id(),
        };
        check::id(&workflow)?;
        let subject = format!("pipeline.{workflow}.01.{stage}");
        sendable(state, &subject, payload, headers)?;
        let input = stored(state, sent(agent, &subject, payload, headers));
        let started = (agent.to_owned(), input);
        state.workflows.started.insert(workflow.clone(), started);
        Ok(workflow)
    })
}

pub(crate) fn pipeline_result(
    workflow: &str,
    _timeout_ms: Option<u32>,
) -> Result<Option<messaging::Answer>, CallError> {
    let (input, answer) = call(Call::PipelineResult, |state, agent| {
        check::id(workflow)?;
        let started = state.workflows.started.get(workflow);
        let Some((_, input)) = started.filter(|(by, _)| by == agent) else {
            let text = format!("`{agent}` has not started the workflow `{workflow}`");
            return Err(CallError::NotFound(text));
        };
        let stage = input.subject.rsplit('.').next().unwrap_or_default();
        let answer = state.workflows.pipelines.get(stage).cloned();
        Ok((input.clone(), answer))
    })?;
    let Some(answer) = answer else {
        return Ok(None);
    };
    let body = answered(&answer, &input)?.unwrap_or_default();
    let mut headers = body.headers;
    headers.extend(
        body.content_type
            .map(|value| ("Content-Type".to_owned(), value)),
    );
    Ok(Some(messaging::Answer {
        subject: format!("pipeline.{workflow}.complete"),
        headers,
        payload: body.payload,
    }))
}

pub(crate) fn signal(workflow: &str, event: &str, payload: &[u8]) -> Result<(), CallError> {
    call(Call::Signal, |state, agent| {
        let subject = event_subject(workflow, event)?;
        sendable(state, &subject, payload, &[])?;
        stored(state, sent(agent, &subject, payload, &[]));
        state.workflows.events.insert(subject, payload.to_vec());
        Ok(())
    })
}

pub(crate) fn await_event(
    workflow: &str,
    event: &str,
    _timeout_ms: Option<u32>,
) -> Result<Option<Vec<u8>>, CallError> {
    call(Call::AwaitEvent, |state, _| {
        let subject = event_subject(workflow, event)?;
        state.allowed(&subject)?;
        Ok(state.workflows.events.get(&subject).cloned())
    })
}

pub(crate) fn watch(workflow: &str) -> Result<(), CallError> {
    call(Call::Watch, |state, agent| {
        check::id(workflow)?;
        state.allowed(&format!("coord.{workflow}.*"))?;
        let watched = (agent.to_owned(), workflow.to_owned());
        if !state.workflows.watched.contains(&watched) {
            state.workflows.watched.push(watched);
        }
        Ok(())
    })
}

pub(crate) fn unwatch(workflow: &str) -> Result<(), CallError> {
    call(Call::Unwatch, |state, agent| {
        let watched = &mut state.workflows.watched;
        let before = watched.len();
        watched.retain(|(by, watched)| by != agent || watched != workflow);
        if watched.len() == before {
            let text = format!("`{agent}` does not watch `{workflow}`");
            return Err(CallError::NotFound(text));
        }
        Ok(())
    })
}

pub(crate) fn leadership() -> Option<Leadership> {
    super::imports::current().and_then(|current| {
        let state = current.bus.state();
        state.workflows.leadership.clone()
    })
}

pub(crate) fn circuit(service: &str) -> Result<Circuit, CallError> {
    call(Call::Circuit, |state, _| {
        check::key(service)?;
        let known = state.workflows.circuits.get(service).copied();
        Ok(known.unwrap_or(Circuit::Closed))
    })
}

fn event_subject(workflow: &str, event: &str) -> Result<String, CallError> {
    check::id(workflow)?;
    check::id(event)?;
    Ok(format!("coord.{workflow}.{event}"))
}

fn stored(state: &mut State, mut message: Sent) -> Sent {
    message.stream = Some(STREAM.to_owned());
    state.published.push(message.clone());
    message
}

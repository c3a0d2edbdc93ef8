//! Pipelines: stages that hand on to each other, that join, that are cancelled, that die.

mod cancel;
mod crashes;
mod failures;
mod flow;
mod joins;
mod sharing;

use async_nats::jetstream::consumer::PullConsumer;
use serde_json::Value;

use harness::{Headers, Nats, Outside, Plugin, Stored, component, header, headers, until};

/// A plugin with the probe's component, under a name of its own, that does one stage.
fn stage(name: &str, lines: &str) -> Plugin {
    Plugin::bare(name)
        .component(component("probe"))
        .stage(name, lines)
}

/// As [`stage`], doing what a command says.
fn stage_doing(name: &str, lines: &str, command: &str) -> Plugin {
    Plugin::bare(name)
        .component(component("probe"))
        .stage_doing(name, lines, command)
}

/// Stores the input of a stage; returns its sequence.
async fn put(nats: &Outside, subject: &str, with: &[(&str, &str)], payload: &str) -> u64 {
    nats.work_with(subject, headers(with), payload.to_owned())
        .await
}

/// The result of a workflow, when it is there.
async fn result_of(nats: &Nats, workflow: &str) -> Stored {
    let subject = format!("pipeline.{workflow}.complete");
    until(&format!("{workflow} is complete"), async || {
        nats.stored("COORDINATION", &subject).await.pop()
    })
    .await
}

/// What was said of a workflow: events with their payloads, in order.
async fn events(nats: &Nats, workflow: &str) -> Vec<(String, Value)> {
    let prefix = format!("coord.{workflow}.");
    let all = nats.stored("COORDINATION", &format!("{prefix}*")).await;
    all.iter()
        .map(|event| (event.subject[prefix.len()..].to_owned(), event.json()))
        .collect()
}

/// The events of one name, when there are that many.
async fn told(nats: &Nats, workflow: &str, event: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} {event} of {workflow}"), async || {
        let all = events(nats, workflow).await;
        let found = all.into_iter().filter(|(name, _)| name == event);
        let found: Vec<Value> = found.map(|(_, payload)| payload).collect();
        (found.len() >= count).then_some(found)
    })
    .await
}

/// Waits until a stage has acknowledged every input that is stored by now.
async fn stage_is_done(nats: &Outside, stage: &str) {
    let stream = nats.stream("COORDINATION").await;
    let inputs = format!("pipeline.*.*.{stage}");
    let last = stream.get_last_raw_message_by_subject(&inputs).await;
    let last = last.unwrap().sequence;
    until(&format!("stage {stage} is done"), async || {
        let consumer: PullConsumer = stream
            .get_consumer(&format!("pipeline-{stage}"))
            .await
            .ok()?;
        let info = consumer.cached_info();
        let delivered = info.delivered.stream_sequence >= last;
        (delivered && info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
}

/// The `Nats-Msg-Id` that an output of a stored input must have.
async fn output_id(nats: &Outside, input: u64, output: &str) -> String {
    let stream = nats.stream("COORDINATION").await;
    let input = stream.get_raw_message(input).await.unwrap();
    let at = input.time.unix_timestamp_nanos();
    format!("COORDINATION:{}:{at}:{output}", input.sequence)
}

fn value(headers: &Headers, name: &str) -> String {
    header(headers, name)
}

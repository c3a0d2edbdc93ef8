//! The native handler, the reference of the scenarios: async-nats alone, no sandbox, no checks, as
//! short as it can be written.
//!
//! It sends headers only if its order says so. It is a separate process, so that its CPU time is
//! measured alone, and ends when its standard input ends.

use std::future::IntoFuture as _;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::{self, AckKind, consumer::pull, message::PublishMessage as Publish};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};

use super::client;
use mistersmith_nats::server::ServerConnection;

/// The line that it writes when it listens.
pub const READY: &str = "ready";

/// How long an item may be held, as the host has it.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// The order of a native handler.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub(super) connection: ServerConnection,
    pub(super) jobs: Vec<Job>,
}

/// One job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Job {
    /// Replies each request with its payload; with the headers that every message of an agent has,
    /// or with none.
    Echo { subject: String, headers: bool },
    /// Counts messages; a request whose payload begins with `?` asks how many.
    Count { subject: String },
    /// Counts with several subscribers, each on a connection of its own, as `nats bench` does.
    CountWith { subject: String, subscribers: u32 },
    /// Answers questions on `<prefix>.scatter.<id>.task` with their payload, on
    /// `<prefix>.gather.<id>.result`, several times, as so many agents do.
    Answer { prefix: String, agents: u32 },
    /// Does a stage of `native.pipeline.<workflow>.<number>.<stage>`: output and event stored, the
    /// acknowledgement confirmed; so many at once.
    Stage {
        stage: String,
        next: Option<String>,
        at_once: usize,
    },
    /// Takes work items, stores the payload as result, and confirms the acknowledgement; so many at
    /// once. With the headers that every result of an agent has, the id among them by which the
    /// stream recognises a result that comes twice; or with none.
    Work {
        subject: String,
        at_once: usize,
        headers: bool,
    },
}

/// Does what the order says, in tasks of its own; returns when it listens.
///
/// # Errors
/// No connection, or no such stream.
pub async fn start(order: Order) -> anyhow::Result<()> {
    let client = connect(&order.connection).await?;
    for job in order.jobs {
        match job {
            Job::Echo { subject, headers } => echo(&client, subject, headers).await?,
            Job::Count { subject } => count(&client, subject).await?,
            Job::CountWith {
                subject,
                subscribers,
            } => {
                for _ in 0..subscribers {
                    count(&connect(&order.connection).await?, subject.clone()).await?;
                }
            }
            Job::Answer { prefix, agents } => {
                for _ in 0..agents {
                    answer(&client, prefix.clone()).await?;
                }
            }
            Job::Stage {
                stage,
                next,
                at_once,
            } => {
                let filter = format!("native.pipeline.*.*.{stage}");
                let (jetstream, inputs) = pull(&client, "NATIVE", &stage, filter, at_once).await?;
                tokio::spawn(inputs.for_each_concurrent(at_once, move |input| {
                    let (jetstream, next) = (jetstream.clone(), next.clone());
                    async move {
                        let Ok(input) = input else { return };
                        // The stream delivers a failed one again.
                        let _ = hand_on(&jetstream, &input, next.as_deref()).await;
                    }
                }));
            }
            Job::Work {
                subject,
                at_once,
                headers,
            } => work(&client, subject, at_once, headers).await?,
        }
    }
    client::settle(&client).await
}

async fn connect(connection: &ServerConnection) -> anyhow::Result<Client> {
    client::options(connection)
        .name("native")
        .connect(&connection.url)
        .await
        .context("cannot connect")
}

async fn echo(client: &Client, subject: String, headers: bool) -> anyhow::Result<()> {
    let mut requests = client.queue_subscribe(subject, "native".to_owned()).await?;
    let client = client.clone();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let Some(reply) = request.reply else { continue };
            // The client sees no answer.
            if headers {
                let traced = trace_headers(request.headers.as_ref());
                let _ = client
                    .publish_with_headers(reply, traced, request.payload)
                    .await;
            } else {
                let _ = client.publish(reply, request.payload).await;
            }
        }
    });
    Ok(())
}

/// Continues the trace of a request, as a service in plain Rust would that keeps the contract.
fn trace_headers(received: Option<&HeaderMap>) -> HeaderMap {
    let given = |name: &str| received?.get(name).map(|value| value.as_str().to_owned());
    let request = given("X-Request-ID").unwrap_or_else(|| nuid::next().to_string());
    let trace = given("X-Trace-ID").unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let span = format!("{:016x}", rand::random::<u64>());
    let mut headers = HeaderMap::new();
    headers.insert("X-Agent-ID", "native-001");
    headers.insert("X-Request-ID", request);
    headers.insert("traceparent", format!("00-{trace}-{span}-00"));
    headers.insert("X-Trace-ID", trace);
    headers.insert("X-Span-ID", span);
    headers
}

async fn count(client: &Client, subject: String) -> anyhow::Result<()> {
    let mut messages = client.subscribe(subject).await?;
    client::settle(client).await?;
    let client = client.clone();
    tokio::spawn(async move {
        let mut counted = 0_u64;
        while let Some(message) = messages.next().await {
            match message.reply {
                Some(reply) if message.payload.first() == Some(&b'?') => {
                    let answer = Bytes::from(std::mem::take(&mut counted).to_string());
                    let _ = client.publish(reply, answer).await;
                }
                _ => counted += 1,
            }
        }
    });
    Ok(())
}

async fn answer(client: &Client, prefix: String) -> anyhow::Result<()> {
    let mut questions = client.subscribe(format!("{prefix}.scatter.*.task")).await?;
    let client = client.clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let id = question.subject.rsplit('.').nth(1).unwrap_or_default();
            let results = format!("{prefix}.gather.{id}.result");
            let _ = client.publish(results, question.payload).await;
        }
    });
    Ok(())
}

/// The messages of a durable consumer of its own.
async fn pull(
    client: &Client,
    stream: &str,
    durable: &str,
    filter: String,
    at_once: usize,
) -> anyhow::Result<(jetstream::Context, pull::Stream)> {
    let jetstream = jetstream::new(client.clone());
    let stream = jetstream.get_stream(stream).await?;
    let config = pull::Config {
        durable_name: Some(durable.to_owned()),
        filter_subject: filter,
        ack_wait: ACK_WAIT,
        max_ack_pending: i64::try_from(at_once * 2)?,
        ..Default::default()
    };
    let consumer = stream.create_consumer(config).await?;
    let messages = consumer.stream().max_messages_per_batch(at_once);
    Ok((jetstream, messages.messages().await?))
}

async fn work(
    client: &Client,
    subject: String,
    at_once: usize,
    headers: bool,
) -> anyhow::Result<()> {
    let durable = subject.replace(['.', '*'], "_");
    let (jetstream, items) = pull(client, "WORK_QUEUE", &durable, subject, at_once).await?;
    tokio::spawn(items.for_each_concurrent(at_once, move |item| {
        let jetstream = jetstream.clone();
        async move {
            let Ok(item) = item else { return };
            // The queue delivers a failed one again.
            let _ = finish(&jetstream, &item, headers).await;
        }
    }));
    Ok(())
}

/// Tells that the stage begins, stores its output and that it is complete, then acknowledges.
async fn hand_on(
    jetstream: &jetstream::Context,
    input: &jetstream::Message,
    next: Option<&str>,
) -> Result<(), async_nats::Error> {
    let mut words = input.subject.split('.').skip(2);
    let workflow = words.next().unwrap_or_default();
    let number: u32 = words.next().unwrap_or_default().parse()?;
    let output = match next {
        Some(next) => format!("native.pipeline.{workflow}.{:02}.{next}", number + 1),
        None => format!("native.pipeline.{workflow}.complete"),
    };
    let event = |name: &str| format!("native.coord.{workflow}.{name}");
    let body = Bytes::from(format!("{{\"n\":{number}}}"));
    // Its acknowledgement is not waited for.
    let _begun = jetstream.publish(event("ready"), body.clone()).await?;
    let stored = jetstream.publish(output, input.payload.clone()).await?;
    let told = jetstream.publish(event("complete"), body).await?;
    futures_util::future::try_join(stored.into_future(), told.into_future()).await?;
    input.double_ack_with(AckKind::Ack).await
}

/// Stores the result, then acknowledges and waits for the confirmation, as the host does.
async fn finish(
    jetstream: &jetstream::Context,
    item: &jetstream::Message,
    headers: bool,
) -> Result<(), async_nats::Error> {
    let number = item.info()?.stream_sequence;
    let subject = format!("agent.native-001.resp.wq-{number}");
    let mut result = Publish::build().payload(item.payload.clone());
    if headers {
        let mut traced = trace_headers(item.headers.as_ref());
        traced.insert("X-Priority", "normal");
        traced.insert("X-Retry-Count", "0");
        let id = format!("WORK_QUEUE:{number}:result");
        result = result.headers(traced).message_id(id);
    }
    jetstream.send_publish(subject, result).await?.await?;
    item.double_ack_with(AckKind::Ack).await
}

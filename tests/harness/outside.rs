//! A NATS client outside the host: it knows the subjects, and nothing of the host.

use std::future::IntoFuture;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::RawMessageErrorKind;
use async_nats::{Client, ConnectOptions, HeaderMap, Message, ServerAddr};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;

mod buckets;
mod readiness;

use super::ear::Ear;
use super::wait::{PATIENCE, until, until_in, within};

pub type Headers = HeaderMap;

/// Headers from pairs.
pub fn headers(pairs: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.append(*name, *value);
    }
    headers
}

/// A message stored in a stream.
#[derive(Debug, Clone)]
pub struct Stored {
    pub subject: String,
    pub sequence: u64,
    pub headers: Headers,
    pub payload: Bytes,
}

impl Stored {
    pub fn header(&self, name: &str) -> String {
        header(&self.headers, name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.payload)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// The first value of a header; empty where there is none.
pub fn header(headers: &HeaderMap, name: &str) -> String {
    let found = headers
        .iter()
        .find(|(key, _)| key.to_string().eq_ignore_ascii_case(name));
    found
        .and_then(|(_, values)| values.first())
        .map(|v| v.as_str().to_owned())
        .unwrap_or_default()
}

/// A client.
#[derive(Debug, Clone)]
pub struct Outside {
    pub client: Client,
    pub js: jetstream::Context,
}

impl Outside {
    pub async fn connect(options: ConnectOptions, urls: &[String]) -> Self {
        let outside = Self::unconfirmed(options, urls).await;
        outside.answers().await;
        outside
    }

    /// Connects without publishing anything: for clients that may not publish to themselves.
    pub async fn unconfirmed(options: ConnectOptions, urls: &[String]) -> Self {
        let urls: Vec<ServerAddr> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let client = within("connects", options.connect(urls)).await.unwrap();
        let mut js = jetstream::new(client.clone());
        js.set_timeout(PATIENCE);
        Self { client, js }
    }

    /// Waits until the server answers.
    pub async fn answers(&self) {
        until("the server answers", async || {
            let inbox = self.client.new_inbox();
            let mut back = self.client.subscribe(inbox.clone()).await.ok()?;
            self.client.publish(inbox, "".into()).await.ok()?;
            tokio::time::timeout(Duration::from_millis(500), back.next())
                .await
                .ok()
                .flatten()
        })
        .await;
    }

    pub async fn publish(&self, subject: &str, payload: impl Into<Bytes>) {
        self.publish_with(subject, Headers::new(), payload).await;
    }

    pub async fn publish_with(&self, subject: &str, headers: Headers, payload: impl Into<Bytes>) {
        let payload = payload.into();
        let sent = if headers.is_empty() {
            self.client.publish(subject.to_owned(), payload).await
        } else {
            self.client
                .publish_with_headers(subject.to_owned(), headers, payload)
                .await
        };
        sent.unwrap();
        self.client.flush().await.unwrap();
    }

    /// One reply. An error reply is a reply.
    pub async fn request(&self, subject: &str, payload: impl Into<Bytes>) -> Message {
        self.request_with(subject, Headers::new(), payload).await
    }

    pub async fn request_with(
        &self,
        subject: &str,
        headers: Headers,
        payload: impl Into<Bytes>,
    ) -> Message {
        let request = async_nats::Request::new()
            .payload(payload.into())
            .headers(headers)
            .timeout(Some(PATIENCE));
        let answer = self.client.send_request(subject.to_owned(), request).await;
        answer.unwrap_or_else(|error| panic!("request on {subject}: {error}"))
    }

    pub async fn request_json(&self, subject: &str, payload: impl Into<Bytes>) -> Value {
        let answer = self.request(subject, payload).await;
        serde_json::from_slice(&answer.payload)
            .unwrap_or_else(|error| panic!("{subject} answered {:?}: {error}", answer.payload))
    }

    /// Resumes a paused agent after an outage, as soon as its host is back. Each connection of the
    /// host reconnects by itself: `execute` arrives on the one that plugins publish on, `resume` on
    /// the one of commands.
    pub async fn resume_when_back(&self, agent: &str) {
        for command in ["execute", "resume"] {
            let subject = format!("agent.{agent}.cmd.{command}");
            until_in(Duration::from_secs(60), &subject, async || {
                let request = self.client.request(subject.clone(), "{}".into());
                let answer = tokio::time::timeout(Duration::from_secs(2), request);
                answer.await.ok()?.ok()
            })
            .await;
        }
    }

    /// Publishes with a reply subject, and waits for that many replies.
    pub async fn ask_all(
        &self,
        subject: &str,
        payload: impl Into<Bytes>,
        count: usize,
    ) -> Vec<Value> {
        let inbox = self.client.new_inbox();
        let ear = Ear::on(&self.client, &inbox).await;
        let payload = payload.into();
        self.client
            .publish_with_reply(subject.to_owned(), inbox, payload)
            .await
            .unwrap();
        let answers = ear.number(count).await;
        answers
            .iter()
            .map(|answer| serde_json::from_slice(&answer.payload).unwrap())
            .collect()
    }

    /// Waits until that many agents of a plugin on the host of that name are ready; returns their
    /// ids.
    pub async fn agents_ready(&self, plugin: &str, host: &str, count: u32) -> Vec<String> {
        let inbox = self.client.new_inbox();
        let ear = Ear::on(&self.client, &inbox).await;
        until(
            &format!("{count} agents of {plugin} are ready on {host}"),
            async || {
                let subject = format!("agent.{plugin}.cmd.status");
                self.client
                    .publish_with_reply(subject, inbox.clone(), "".into())
                    .await
                    .unwrap();
                let mut ready = std::collections::BTreeSet::new();
                for answer in ear.all() {
                    let Ok(status) = serde_json::from_slice::<Value>(&answer.payload) else {
                        continue;
                    };
                    let taking = status["status"] == "ready" || status["status"] == "paused";
                    if taking && status["host"] == host {
                        ready.insert(status["agent_id"].as_str().unwrap().to_owned());
                    }
                }
                (ready.len() >= count as usize).then(|| ready.into_iter().collect())
            },
        )
        .await
    }

    /// Makes an agent execute a command of the probe.
    pub async fn tell(&self, agent: &str, command: Value) -> Value {
        self.request_json(&format!("agent.{agent}.cmd.execute"), command.to_string())
            .await
    }

    /// Makes an agent execute a command of the probe that the host refuses: kind and sentence.
    pub async fn refused(&self, agent: &str, command: Value) -> (String, String) {
        let told = self.tell(agent, command.clone()).await;
        let text = |name: &str| told["error"][name].as_str().map(str::to_owned);
        let refusal = text("kind").zip(text("message"));
        refusal.unwrap_or_else(|| panic!("{command} was not refused: {told}"))
    }

    pub async fn listen(&self, subject: &str) -> Ear {
        Ear::on(&self.client, subject).await
    }

    /// Publishes a work item; returns its sequence.
    pub async fn work(&self, subject: &str, payload: impl Into<Bytes>) -> u64 {
        self.work_with(subject, Headers::new(), payload).await
    }

    /// Publishes a work item that has a request id.
    pub async fn work_as(&self, request: &str, subject: &str, payload: impl Into<Bytes>) -> u64 {
        self.work_with(subject, headers(&[("X-Request-ID", request)]), payload)
            .await
    }

    pub async fn work_with(
        &self,
        subject: &str,
        headers: Headers,
        payload: impl Into<Bytes>,
    ) -> u64 {
        let ack = self
            .js
            .publish_with_headers(subject.to_owned(), headers, payload.into())
            .await;
        within("a work item is stored", ack.unwrap().into_future())
            .await
            .unwrap()
            .sequence
    }

    pub async fn stream(&self, name: &str) -> jetstream::stream::Stream {
        within("a stream answers", self.js.get_stream(name))
            .await
            .unwrap()
    }

    pub async fn stream_info(&self, name: &str) -> jetstream::stream::Info {
        self.stream(name).await.cached_info().clone()
    }

    /// The messages of a stream on a subject, which may have wildcards, oldest first.
    pub async fn stored(&self, stream: &str, subject: &str) -> Vec<Stored> {
        let stream = self.stream(stream).await;
        let mut found = Vec::new();
        let mut sequence = 1;
        loop {
            let next = match stream
                .get_first_raw_message_by_subject(subject, sequence)
                .await
            {
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => return found,
                next => next.unwrap(),
            };
            sequence = next.sequence + 1;
            found.push(Stored {
                subject: next.subject.to_string(),
                sequence: next.sequence,
                headers: next.headers,
                payload: next.payload,
            });
        }
    }

    /// All results of a request.
    pub async fn results_of(&self, request: &str) -> Vec<Stored> {
        self.stored("RESULTS", &format!("agent.*.resp.{request}"))
            .await
    }

    /// Waits for the result of a request.
    pub async fn result_of(&self, request: &str) -> Stored {
        until(&format!("a result of {request}"), async || {
            self.results_of(request).await.pop()
        })
        .await
    }

    /// Waits for that many dead letters of an original subject, which may have wildcards.
    pub async fn dead_letters(&self, subject: &str, count: usize) -> Vec<Stored> {
        until(&format!("{count} dead letters of {subject}"), async || {
            let found = self.stored("DLQ", &format!("dlq.{subject}")).await;
            (found.len() >= count).then_some(found)
        })
        .await
    }

    /// The server's report on each consumer of work.
    pub async fn consumers(&self) -> Vec<String> {
        let stream = self.stream("WORK_QUEUE").await;
        let all: Vec<_> = stream.consumers().try_collect().await.unwrap();
        let shown = all.iter().map(|c| {
            format!(
                "{}: delivered {}, pending {}, in hand {}, again {}, polls {}",
                c.name,
                c.delivered.consumer_sequence,
                c.num_pending,
                c.num_ack_pending,
                c.num_redelivered,
                c.num_waiting
            )
        });
        shown.collect()
    }

    /// Number of polls for work pending at the server.
    pub async fn polls(&self) -> usize {
        let stream = self.stream("WORK_QUEUE").await;
        let all: Vec<_> = stream.consumers().try_collect().await.unwrap();
        all.iter().map(|consumer| consumer.num_waiting).sum()
    }

    /// Waits until no work is stored.
    pub async fn work_is_done(&self) {
        let empty =
            async || (self.stream_info("WORK_QUEUE").await.state.messages == 0).then_some(());
        let waiting = until("the work queue is empty", empty);
        if tokio::time::timeout(PATIENCE * 2 / 3, waiting)
            .await
            .is_err()
        {
            let left = self.stored("WORK_QUEUE", ">").await;
            let left: Vec<String> = left
                .iter()
                .map(|item| format!("{} {}", item.sequence, item.subject))
                .collect();
            panic!(
                "the work queue is not empty: {left:?}, taken by {:#?}",
                self.consumers().await
            );
        }
    }

    /// Waits for an entry of the audit trail.
    pub async fn audited(&self, kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(&format!("audit.{kind} has an entry"), async || {
            let all = self.stored("AUDIT", &format!("audit.{kind}")).await;
            all.iter().map(Stored::json).find(&wanted)
        })
        .await
    }
}

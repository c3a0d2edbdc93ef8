//! The load generator: requests and messages in flight for a time, and their outcome.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use async_nats::{Client, ConnectOptions, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use mistersmith_nats::server::ServerConnection;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the counting receivers may take to answer after a burst, before they are asked again.
const LOOK: Duration = Duration::from_millis(300);
/// How many messages are sent between two questions how many have arrived; fewer where each is
/// delivered to many, who together have room for so many bytes only.
const WINDOW: u64 = 2000;
const WINDOW_OF_MANY: u64 = 50;
/// How many such questions may be open: together far fewer bytes than may wait for an agent.
const WINDOWS: usize = 3;

/// Messages that the client library queues for one subscription, its own default.
const SUBSCRIPTION_CAPACITY: usize = 65_536;

/// How a client of a benchmark connects: with the defaults of the client library.
pub(super) fn options(connection: &ServerConnection) -> ConnectOptions {
    ConnectOptions::with_user_and_password(connection.user.clone(), connection.password.clone())
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
}

/// The outcome of requests.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Answers within the time.
    pub(super) answers: u64,
    /// Answers that were errors.
    pub(super) errors: u64,
    /// Requests that nobody answered.
    pub(super) unanswered: u64,
    /// How long it took.
    pub(super) took: Duration,
    /// The longest time between two answers.
    pub(super) gap: Duration,
    latencies: Vec<Duration>,
}

impl Load {
    pub(super) fn per_second(&self) -> f64 {
        self.answers as f64 / self.took.as_secs_f64()
    }

    /// Takes in a round trip.
    pub(super) fn note(&mut self, took: Duration) {
        self.latencies.push(took);
    }

    /// The exact quantile of the round trips, in microseconds.
    pub(super) fn quantile(&mut self, part: f64) -> f64 {
        self.latencies.sort_unstable();
        let last = self.latencies.len().saturating_sub(1);
        let place = (last as f64 * part).round() as usize;
        let at = self.latencies.get(place).copied().unwrap_or_default();
        at.as_secs_f64() * 1e6
    }
}

/// The load of one client: messages on a subject, from one task on one connection, so that the load
/// itself costs little.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traffic<'a> {
    client: &'a Client,
    subject: &'a str,
    payload: &'a Bytes,
    at_once: usize,
}

impl<'a> Traffic<'a> {
    /// `at_once` requests are in flight, or so many receivers count the messages.
    pub(super) fn new(
        client: &'a Client,
        subject: &'a str,
        payload: &'a Bytes,
        at_once: usize,
    ) -> Self {
        Self {
            client,
            subject,
            payload,
            at_once,
        }
    }

    /// Keeps so many requests in flight for a time: each answer is followed by the next request.
    pub(super) async fn requests(self, time: Duration) -> anyhow::Result<Load> {
        let end = Instant::now() + time;
        self.requests_while(|now| now < end).await
    }

    /// As [`requests`](Self::requests), for as long as `goes_on` says.
    pub(super) async fn requests_while(
        self,
        goes_on: impl Fn(Instant) -> bool,
    ) -> anyhow::Result<Load> {
        let Self {
            client,
            subject,
            payload,
            at_once,
        } = self;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(format!("{inbox}.*")).await?;
        settle(client).await?;
        let subject = Subject::from(subject);
        let begun = Instant::now();
        let mut slots: Vec<(Subject, Instant)> = (0..at_once)
            .map(|slot| (Subject::from(format!("{inbox}.{slot}")), begun))
            .collect();
        for (reply, since) in &mut slots {
            *since = Instant::now();
            let sent = client.publish_with_reply(subject.clone(), reply.clone(), payload.clone());
            sent.await?;
        }
        let mut load = Load::default();
        let (mut open, mut last) = (at_once, begun);
        while open > 0 {
            let Ok(answer) = tokio::time::timeout(PATIENCE, answers.next()).await else {
                load.unanswered = open as u64;
                load.took = begun.elapsed();
                return Ok(load);
            };
            let answer = answer.context("the connection has ended")?;
            let now = Instant::now();
            let Some((reply, since)) = slot_of(&answer).and_then(|slot| slots.get_mut(slot)) else {
                bail!("an answer on {}", answer.subject);
            };
            load.gap = load.gap.max(now - last);
            last = now;
            if is_error(&answer) {
                load.errors += 1;
            } else {
                load.answers += 1;
                load.note(now - *since);
            }
            if goes_on(now) {
                *since = now;
                let sent =
                    client.publish_with_reply(subject.clone(), reply.clone(), payload.clone());
                sent.await?;
            } else {
                open -= 1;
            }
        }
        load.took = begun.elapsed();
        Ok(load)
    }

    /// Sends messages for a time, not faster than they are counted: at intervals it asks the
    /// receivers for their counts and waits for the answer of each.
    pub(super) async fn stream(self, time: Duration) -> anyhow::Result<Flow> {
        let Self {
            client,
            subject,
            payload,
            at_once: counters,
        } = self;
        let mut asked = Asked::new(client, subject, counters).await?;
        let window = if counters > 10 {
            WINDOW_OF_MANY
        } else {
            WINDOW
        };
        let mut flow = Flow::default();
        let begun = Instant::now();
        let mut open = 0;
        while begun.elapsed() < time || open > 0 {
            if open < WINDOWS && begun.elapsed() < time {
                for _ in 0..window {
                    client
                        .publish(asked.subject.clone(), payload.clone())
                        .await?;
                }
                flow.sent += window;
                asked.ask(client).await?;
                open += 1;
            } else {
                flow.counted += asked
                    .answers(PATIENCE)
                    .await?
                    .context("nobody counts any more")?;
                open -= 1;
            }
        }
        flow.took = begun.elapsed();
        let wanted = flow.sent * counters as u64;
        ensure!(
            flow.counted == wanted,
            "{subject}: {} of {wanted} deliveries were counted, though no more were sent than are \
             taken",
            flow.counted
        );
        Ok(flow)
    }

    /// Sends so many messages as fast as the connection takes them, and asks at the end how many
    /// arrived.
    pub(super) async fn burst(self, messages: u64) -> anyhow::Result<Flow> {
        let Self {
            client,
            subject,
            payload,
            at_once: counters,
        } = self;
        let mut asked = Asked::new(client, subject, counters).await?;
        let begun = Instant::now();
        for _ in 0..messages {
            client
                .publish(asked.subject.clone(), payload.clone())
                .await?;
        }
        settle(client).await?;
        let mut flow = Flow {
            sent: messages,
            ..Flow::default()
        };
        let mut quiet = 0;
        // A question can be dropped like a message; and what is still waiting is counted later.
        while quiet < 3 && begun.elapsed() < PATIENCE * 3 {
            asked.ask(client).await?;
            let counted = asked.answers(LOOK).await?;
            match counted {
                Some(0) => quiet += 1,
                Some(counted) => {
                    flow.counted += counted;
                    flow.took = begun.elapsed();
                    quiet = 0;
                }
                None => {}
            }
            tokio::time::sleep(LOOK / 10).await;
        }
        Ok(flow)
    }
}

fn slot_of(answer: &Message) -> Option<usize> {
    answer.subject.rsplit('.').next()?.parse().ok()
}

fn is_error(answer: &Message) -> bool {
    let headers = answer.headers.as_ref();
    answer.status.is_some()
        || headers.is_some_and(|headers| headers.get("Nats-Service-Error-Code").is_some())
}

/// The outcome of messages without reply.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Messages that were sent.
    pub(super) sent: u64,
    /// Messages that the receivers counted, all together.
    pub(super) counted: u64,
    /// From the first one to the last answer.
    pub(super) took: Duration,
}

impl Flow {
    pub(super) fn per_second(&self) -> f64 {
        self.counted as f64 / self.took.as_secs_f64()
    }
}

/// The question how many messages were counted.
struct Asked {
    subject: Subject,
    inbox: Subject,
    answers: Subscriber,
    counters: usize,
}

impl Asked {
    async fn new(client: &Client, subject: &str, counters: usize) -> anyhow::Result<Self> {
        let inbox = client.new_inbox();
        let answers = client.subscribe(inbox.clone()).await?;
        settle(client).await?;
        Ok(Self {
            subject: Subject::from(subject),
            inbox: Subject::from(inbox),
            answers,
            counters,
        })
    }

    async fn ask(&self, client: &Client) -> anyhow::Result<()> {
        let (subject, inbox) = (self.subject.clone(), self.inbox.clone());
        client
            .publish_with_reply(subject, inbox, Bytes::from_static(b"?"))
            .await?;
        Ok(())
    }

    /// The sum of the answers to one question; none when nobody answers. Where only some do, their
    /// sum.
    async fn answers(&mut self, wait: Duration) -> anyhow::Result<Option<u64>> {
        let mut sum = None;
        for _ in 0..self.counters {
            let Ok(answer) = tokio::time::timeout(wait, self.answers.next()).await else {
                break;
            };
            let answer = answer.context("the connection has ended")?;
            let text = String::from_utf8_lossy(&answer.payload).into_owned();
            let number: u64 = if is_error(&answer) {
                // It has no room for the question: it is asked again.
                continue;
            } else {
                text.parse()
                    .with_context(|| format!("{text:?} is not a number of messages"))?
            };
            sum = Some(sum.unwrap_or(0) + number);
        }
        Ok(sum)
    }
}

/// One question, one answer that is no error.
pub(super) async fn ask(client: &Client, subject: &str, payload: &str) -> anyhow::Result<Message> {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    let asked = client.request(subject.to_owned(), payload);
    let answer = tokio::time::timeout(PATIENCE, asked).await??;
    if is_error(&answer) {
        bail!("{subject} answers an error: {:?}", answer.headers);
    }
    Ok(answer)
}

/// Waits until the server has handled what was sent: a message to ourselves comes back.
pub(super) async fn settle(client: &Client) -> anyhow::Result<()> {
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await?;
    client.publish(inbox, Bytes::new()).await?;
    let came = tokio::time::timeout(PATIENCE * 3, echo.next()).await;
    came.context("the server does not answer")?
        .context("the connection has ended")?;
    Ok(())
}

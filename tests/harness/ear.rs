//! A subscription that records its messages.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use tokio::task::JoinHandle;

use super::wait::until;

/// The messages received on a subject so far.
#[derive(Debug)]
pub struct Ear {
    heard: Arc<Mutex<Vec<(Instant, Message)>>>,
    task: JoinHandle<()>,
}

impl Ear {
    /// Subscribes; when this returns, the server has the subscription.
    pub async fn on(client: &Client, subject: &str) -> Self {
        let messages = client.subscribe(subject.to_owned()).await.unwrap();
        // A round trip after the subscription.
        let inbox = client.new_inbox();
        let mut back = client.subscribe(inbox.clone()).await.unwrap();
        client.publish(inbox, "".into()).await.unwrap();
        super::wait::within("a subscription", back.next()).await;
        Self::to(messages)
    }

    /// Subscribes without a round trip to the server: for clients that may not publish to
    /// themselves.
    pub async fn unconfirmed(client: &Client, subject: &str) -> Self {
        Self::to(client.subscribe(subject.to_owned()).await.unwrap())
    }

    fn to(mut messages: Subscriber) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let memory = heard.clone();
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                memory.lock().unwrap().push((Instant::now(), message));
            }
        });
        Self { heard, task }
    }

    pub fn all(&self) -> Vec<Message> {
        self.heard
            .lock()
            .unwrap()
            .iter()
            .map(|(_, message)| message.clone())
            .collect()
    }

    /// The arrival time of each message.
    pub fn times(&self) -> Vec<Instant> {
        self.heard
            .lock()
            .unwrap()
            .iter()
            .map(|(time, _)| *time)
            .collect()
    }

    pub fn subjects(&self) -> Vec<String> {
        self.all()
            .iter()
            .map(|message| message.subject.to_string())
            .collect()
    }

    /// Number of messages on exactly this subject.
    pub fn count(&self, subject: &str) -> usize {
        self.all()
            .iter()
            .filter(|message| *message.subject == *subject)
            .count()
    }

    pub fn forget(&self) {
        self.heard.lock().unwrap().clear();
    }

    /// Waits for the first message on exactly this subject.
    pub async fn on_subject(&self, subject: &str) -> Message {
        self.first(subject, |message| *message.subject == *subject)
            .await
    }

    /// Waits for the first message that `wanted` accepts.
    pub async fn first(&self, what: &str, wanted: impl Fn(&Message) -> bool) -> Message {
        until(&format!("hears {what}"), async || {
            self.all().into_iter().find(&wanted)
        })
        .await
    }

    /// Waits until `count` messages have arrived.
    pub async fn number(&self, count: usize) -> Vec<Message> {
        until(&format!("hears {count} messages"), async || {
            let all = self.all();
            (all.len() >= count).then_some(all)
        })
        .await
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.task.abort();
    }
}

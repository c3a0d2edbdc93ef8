//! Offers items at a steady pace, whatever the servers answer.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::RequestErrorKind;
use serde_json::Value;
use tokio::task::JoinHandle;

use harness::{Outside, headers};

use super::account::Offered;
use super::items::Item;
use super::pace::Pace;

/// Items in a second.
const RATE: u64 = 60;
/// Items that are offered at once: each waits for its answer.
const WORKERS: u64 = 12;
/// How long an offer waits for its answer.
const ANSWER: Duration = Duration::from_secs(3);
/// How long after its time an item may still be offered.
const PATIENCE: Duration = Duration::from_secs(120);

/// A load that is being offered.
#[derive(Debug)]
pub(super) struct Load {
    offered: Arc<Mutex<Offered>>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Begins to offer items.
    pub(super) fn start(nats: &Outside, pace: &Pace) -> Self {
        let offered = Arc::default();
        let (begun, count, seed) = (Instant::now(), pace.span.as_secs() * RATE, pace.seed);
        let workers = (0..WORKERS)
            .map(|worker| {
                let (nats, offered) = (nats.clone(), Arc::clone(&offered));
                tokio::spawn(async move {
                    for number in (worker..count).step_by(WORKERS as usize) {
                        let due = begun + Duration::from_millis(number * 1000 / RATE);
                        tokio::time::sleep_until(due.into()).await;
                        offer(&nats, number, seed, &offered).await;
                    }
                })
            })
            .collect();
        Self { offered, workers }
    }

    /// Whether items are still offered.
    pub(super) fn goes_on(&self) -> bool {
        self.workers.iter().any(|worker| !worker.is_finished())
    }

    /// Waits for the end; what was offered.
    pub(super) async fn end(self) -> Offered {
        for worker in self.workers {
            worker.await.unwrap();
        }
        std::mem::take(&mut self.offered.lock().unwrap())
    }
}

/// Offers an item until a stream has acknowledged it. Each try has an id of its own: a server that
/// was killed does not know an id of an item that is done.
async fn offer(nats: &Outside, number: u64, seed: u64, offered: &Mutex<Offered>) {
    let begun = Instant::now();
    for attempt in 0.. {
        let id = format!("i{number}-{attempt}");
        let item = Item::number(number, seed, &id);
        let request = nats.client.request_with_headers(
            item.subject.clone(),
            headers(&[("X-Request-ID", &id)]),
            item.payload.into(),
        );
        match tokio::time::timeout(ANSWER, request).await {
            Ok(Ok(answer)) => {
                let said: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
                if said["seq"].is_u64() && said["error"].is_null() {
                    offered.lock().unwrap().sure.insert(id, item.intent);
                    return;
                }
            }
            // Nobody has heard of it.
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {}
            // No answer says nothing about what is stored.
            _ => drop(offered.lock().unwrap().unsure.insert(id)),
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "item {number} cannot be offered"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

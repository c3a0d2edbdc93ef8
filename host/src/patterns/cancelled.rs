//! Which workflows are cancelled: `coord.<workflow>.cancel` was published.
//!
//! The stream remembers, this set is a copy: read whole before the first stage is pulled and after
//! every break of the connection, and kept up to date by a subscription that is made before that. What
//! asks waits until the copy is whole; so a host that was away does not run what was stopped meanwhile.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::limits;
use crate::names::WorkflowId;
use crate::transport::{Link, Subscription, TransportError};

/// The subjects by which workflows are cancelled.
const SUBJECTS: &str = "coord.*.cancel";
/// How often a break of the connection is looked for.
const LOOK: Duration = Duration::from_millis(250);
/// How long a cancellation that was heard counts without being seen in the stream.
const HEARD: Duration = Duration::from_secs(600);

/// The cancelled workflows. Cheap to clone; all clones share them.
#[derive(Debug, Clone)]
pub struct Cancelled(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    known: RwLock<Known>,
    /// As of which reconnect the copy is whole; none before it was first read.
    whole: watch::Sender<Option<u64>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Those in the stream when it was last read.
    stored: HashSet<String>,
    /// Those heard, and when: the stream may have them a little later.
    heard: HashMap<String, Instant>,
}

impl Cancelled {
    /// Reads the set, and starts the task that keeps it. The connection should be that of the pulls
    /// whose messages are checked: when that breaks, this one did.
    pub async fn start(link: Link) -> Result<(Self, JoinHandle<()>), TransportError> {
        let this = Self(Arc::new(Inner {
            link: link.clone(),
            known: RwLock::default(),
            whole: watch::channel(None).0,
        }));
        // In this order: what is published between the two is heard.
        let heard = link.subscribe(SUBJECTS, None).await?;
        if let Err(error) = this.read().await {
            // No stage is pulled until it could be read.
            tracing::warn!(%error, "which workflows are cancelled is not known yet");
        }
        let following = tokio::spawn(this.clone().follow(heard));
        Ok((this, following))
    }

    /// Whether every cancellation of the past is known.
    pub fn is_whole(&self) -> bool {
        self.0.link.is_connected() && *self.0.whole.borrow() == Some(self.0.link.reconnects())
    }

    /// Whether a workflow is cancelled; waits until that can be told.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be told for [`limits::CANCEL_WAIT`].
    pub async fn has(&self, workflow: &WorkflowId) -> Result<bool, TransportError> {
        let mut whole = self.0.whole.subscribe();
        let known = async {
            while !self.is_whole() {
                let _ = tokio::time::timeout(LOOK, whole.changed()).await;
            }
        };
        tokio::time::timeout(limits::CANCEL_WAIT, known)
            .await
            .map_err(|_| {
                TransportError::Unavailable(
                    "which workflows are cancelled is not known at the moment".to_owned(),
                )
            })?;
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let workflow = workflow.as_str();
        Ok(known.stored.contains(workflow) || known.heard.contains_key(workflow))
    }

    /// Makes the set what the stream holds.
    async fn read(&self) -> Result<(), TransportError> {
        let link = &self.0.link;
        let reconnects = link.reconnects();
        let stream = link.stream("COORDINATION")?;
        let subjects = stream.subjects(SUBJECTS, limits::MAX_CANCELLED).await?;
        if subjects.len() == limits::MAX_CANCELLED {
            tracing::error!(
                most = limits::MAX_CANCELLED,
                "more workflows are cancelled than this host can remember; some may go on"
            );
        }
        let stored = subjects.keys().filter_map(|subject| workflow(subject));
        let stored = stored.map(str::to_owned).collect();
        {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            known.stored = stored;
            known.heard.retain(|_, at| at.elapsed() < HEARD);
        }
        self.0.whole.send_replace(Some(reconnects));
        Ok(())
    }

    async fn follow(self, mut heard: Subscription) {
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let mut dropped = heard.dropped();
        loop {
            tokio::select! {
                biased;
                message = heard.next() => match message {
                    Some(message) => self.hear(&message.subject),
                    // The connection was closed for good.
                    None => return,
                },
                _ = clock.tick() => {}
            }
            let missed = heard.dropped() != dropped;
            let due = last.elapsed() >= limits::CANCELLED_REFRESH;
            if (missed || due || !self.is_whole()) && self.0.link.is_connected() {
                let before = heard.dropped();
                match self.read().await {
                    Ok(()) => (last, dropped) = (Instant::now(), before),
                    Err(error) => tracing::debug!(%error, "cancelled workflows not read"),
                }
            }
        }
    }

    fn hear(&self, subject: &str) {
        let Some(workflow) = workflow(subject) else {
            return;
        };
        tracing::info!(workflow, "the workflow is cancelled");
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.heard.len() < limits::MAX_CANCELLED {
            known.heard.insert(workflow.to_owned(), Instant::now());
        }
    }
}

/// The workflow of `coord.<workflow>.cancel`.
fn workflow(subject: &str) -> Option<&str> {
    let workflow = subject.strip_prefix("coord.")?.strip_suffix(".cancel")?;
    WorkflowId::check(workflow).is_ok().then_some(workflow)
}

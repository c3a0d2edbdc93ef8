//! Opens a connection: its first client, its table of replies, and the task that replaces a dead
//! client.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::connection::Inner;
use super::denials::Denials;
use super::dialer::Dialer;
use super::health::Health;
use super::replies::Replies;
use super::source::Subscriptions;
use super::{ConnectSpec, Connection, TransportError, revival};

/// Connects, trying again while no server answers. Credentials that a server refuses end it at
/// once.
pub(super) async fn open(
    spec: &ConnectSpec,
    name: String,
    changed: watch::Sender<u64>,
    denials: Arc<Denials>,
) -> Result<Connection, TransportError> {
    revival::quiet_known_panics();
    let subscriptions = Subscriptions::new(Arc::clone(&denials));
    let health = Health::new(&name, changed, Arc::clone(&subscriptions), denials);
    let (ends, ended) = mpsc::unbounded_channel();
    let mut dialer = Dialer::new(spec, name, health, ends)?;
    let mut first = dialer.first().await?;
    first.begin();
    let (replies, answers) = Replies::listen(&subscriptions, &first).await?;
    let health = Arc::clone(dialer.health());
    let _ = health.replies.set(Arc::downgrade(&replies));
    let mut inner = Inner::new(first, (replies, answers), health, subscriptions);
    inner.domain.clone_from(&spec.domain);
    let inner = Arc::new(inner);
    tokio::spawn(revival::keep(Arc::downgrade(&inner), dialer, ended));
    Ok(inner.into())
}

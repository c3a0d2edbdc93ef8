//! A proxy between a client and a server of NATS that makes faults of the network, also between
//! two messages, and records what the server denies.
//!
//! Clients never learn the addresses of other servers through it, so none goes around it.

mod connection;
mod denials;
mod edit;
mod frame;
mod link;
mod way;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use connection::{Shared, carry};
use denials::{Denials, Login};
use edit::Plan;
use link::{End, Link};

pub use edit::Seen;
pub use way::Way;

/// A proxy in front of one server. Connections through it end with it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    denials: Denials,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy for the server on this port of loopback.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            link: Link::new(),
            plan: Mutex::default(),
        });
        let denials = Denials::default();
        let accepting = accept(listener, server, Arc::clone(&shared), denials.clone());
        Self {
            port,
            shared,
            denials,
            task: tokio::spawn(accepting),
        }
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The server's denials to this user, connected through this proxy.
    pub(crate) fn refused_to(&self, user: &str) -> Vec<String> {
        self.denials.of(user)
    }

    /// Everything comes in so much later, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.shared.link.change(|weather| weather.delay = delay);
    }

    /// So many bytes a second pass in each direction, of all connections together.
    pub fn rate(&self, rate: Option<u32>) {
        self.shared.link.change(|weather| weather.rate = rate);
    }

    /// From now on nothing passes in these directions, and everything in the others. What waits
    /// passes when its direction is free again.
    pub fn hold(&self, ways: &[Way]) {
        let held = ways.to_vec();
        self.shared.link.change(|weather| weather.held = held);
    }

    /// Refuses connections, or accepts them again. Those that are open stay.
    pub fn refuse(&self, refused: bool) {
        self.shared.link.change(|weather| weather.refused = refused);
    }

    /// Ends all connections by RST.
    pub fn reset(&self) {
        self.shared.link.end(End::Reset);
    }

    /// Drops the next answers of streams to what they have stored.
    pub fn lose_acks(&self, count: u64) {
        self.plan(|plan| plan.lost_acks = count);
    }

    /// Passes each status on before the message of a stream that precedes it, or no more.
    pub fn statuses_first(&self, first: bool) {
        self.plan(|plan| plan.statuses_first = first);
    }

    /// Ends all connections after so many more messages, in both directions together.
    pub fn cut_after(&self, messages: u64) {
        self.plan(|plan| plan.cut_after = Some(messages));
    }

    /// Takes back what [`cut_after`](Self::cut_after) asked for, where it has not happened.
    pub fn cut_no_more(&self) {
        self.plan(|plan| plan.cut_after = None);
    }

    pub fn seen(&self) -> Seen {
        self.shared.plan.lock().unwrap().seen
    }

    fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.shared.plan.lock().unwrap());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, shared: Arc<Shared>, denials: Denials) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if shared.link.weather().refused {
            let _ = client.set_zero_linger();
            continue;
        }
        shared.plan.lock().unwrap().seen.connections += 1;
        let (shared, login) = (Arc::clone(&shared), Login::new(denials.clone()));
        connections.spawn(async move {
            if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                carry(client, server, shared, login).await;
            }
        });
    }
}

#[cfg(test)]
mod tests;

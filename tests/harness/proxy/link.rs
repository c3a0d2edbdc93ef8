//! The network that a proxy stands for: latency, bytes per second, directions in which nothing
//! passes, and the end of connections. All connections of the proxy share it.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::way::Way;

/// Bytes that a slow link passes on at once.
const PIECE: usize = 2048;

/// The state of the network.
#[derive(Debug, Default, Clone)]
pub(crate) struct Weather {
    /// The delay of each direction.
    pub(crate) delay: Duration,
    /// Bytes per second in each direction, where they are limited.
    pub(crate) rate: Option<u32>,
    /// Directions in which nothing passes; nothing is lost, as TCP repeats what is not confirmed.
    pub(crate) held: Vec<Way>,
    /// Connections are refused.
    pub(crate) refused: bool,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In the usual way: what was passed on arrives.
    Closed,
    /// By RST.
    Reset,
}

#[derive(Debug)]
pub(crate) struct Link {
    weather: watch::Sender<Weather>,
    ends: watch::Sender<End>,
    /// When the link is free again, up and down.
    free: Mutex<[Instant; 2]>,
}

impl Link {
    pub(crate) fn new() -> Self {
        Self {
            weather: watch::Sender::new(Weather::default()),
            ends: watch::Sender::new(End::Closed),
            free: Mutex::new([Instant::now(); 2]),
        }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }

    pub(crate) fn weather(&self) -> Weather {
        self.weather.borrow().clone()
    }

    /// Ends all connections.
    pub(crate) fn end(&self, how: End) {
        self.ends.send_replace(how);
    }

    /// The ends of all connections from now on.
    pub(crate) fn ends(&self) -> watch::Receiver<End> {
        self.ends.subscribe()
    }

    /// Waits until something may pass in this direction.
    pub(crate) async fn open(&self, way: Way) {
        let mut weather = self.weather.subscribe();
        // The sender lives as long as the link.
        let _ = weather
            .wait_for(|weather| !weather.held.contains(&way))
            .await;
    }

    /// Waits until the first of these bytes may pass; how many may.
    pub(crate) async fn pass(&self, way: Way, bytes: usize) -> usize {
        let Some(rate) = self.weather().rate else {
            return bytes;
        };
        let bytes = bytes.min(PIECE);
        let at = {
            let mut free = self.free.lock().unwrap();
            let free = &mut free[usize::from(way == Way::Down)];
            let at = (*free).max(Instant::now());
            *free = at + Duration::from_secs_f64(bytes as f64 / f64::from(rate.max(1)));
            at
        };
        tokio::time::sleep_until(at).await;
        bytes
    }
}

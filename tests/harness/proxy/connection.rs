//! One connection through a proxy: two directions, each read, edited and written.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::denials::Login;
use super::edit::{Edited, Editor, Plan};
use super::frame::Frames;
use super::link::{End, Link};
use super::way::Way;

/// How long a message of a stream waits for a status that may follow it.
const STATUS_WAIT: Duration = Duration::from_millis(20);

/// Reads that wait in a direction in which nothing passes; more stays with the sender.
const WAITING: usize = 64;

/// The state shared by all connections of a proxy.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) link: Link,
    pub(crate) plan: Mutex<Plan>,
}

/// Bytes read together, and the time at which they may be written.
type Chunk = (Instant, Edited);

/// Carries a connection until one side or a fault ends it.
pub(crate) async fn carry(
    mut client: TcpStream,
    mut server: TcpStream,
    shared: Arc<Shared>,
    login: Login,
) {
    let mut ends = shared.link.ends();
    // Every piece is written for itself, also by TCP.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = direct(Way::Up, from_client, to_server, &shared, &login);
        let down = direct(Way::Down, from_server, to_client, &shared, &login);
        let both = async { tokio::join!(up, down) };
        tokio::select! {
            _ = both => End::Closed,
            _ = ends.changed() => *ends.borrow(),
        }
    };
    if end == End::Reset {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

/// Carries one direction until its sender closes it or its receiver is gone.
async fn direct(
    way: Way,
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    login: &Login,
) {
    let (chunks, waiting) = mpsc::channel(WAITING);
    {
        let reading = read(way, from, shared, login, chunks);
        let writing = write(way, &mut to, shared, waiting);
        tokio::pin!(writing);
        tokio::select! {
            () = &mut writing => {}
            // The bytes already read are still written.
            () = reading => writing.await,
        }
    }
    let _ = to.shutdown().await;
}

async fn read(
    way: Way,
    mut from: ReadHalf<'_>,
    shared: &Shared,
    login: &Login,
    chunks: mpsc::Sender<Chunk>,
) {
    let mut frames = Frames::default();
    let mut editor = Editor::new(way);
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let reading = from.read(&mut bytes);
        let read = match editor.holds() {
            true => timeout(STATUS_WAIT, reading).await.ok(),
            false => Some(reading.await),
        };
        let mut edited = Edited::default();
        match read {
            None => editor.flush(&mut shared.plan.lock().unwrap(), &mut edited),
            Some(Ok(size @ 1..)) => {
                frames.push(&bytes[..size]);
                loop {
                    match frames.next() {
                        Ok(Some(frame)) => {
                            login.read(&frame);
                            editor.edit(frame, &mut shared.plan.lock().unwrap(), &mut edited);
                        }
                        Ok(None) => break,
                        // Faults have no place in what is no NATS: the connection ends.
                        Err(_) => return,
                    }
                }
            }
            Some(_) => return,
        }
        let at = Instant::now() + shared.link.weather().delay;
        if (edited.cut || !edited.bytes.is_empty()) && chunks.send((at, edited)).await.is_err() {
            return;
        }
    }
}

async fn write(
    way: Way,
    to: &mut WriteHalf<'_>,
    shared: &Shared,
    mut chunks: mpsc::Receiver<Chunk>,
) {
    while let Some((at, edited)) = chunks.recv().await {
        tokio::time::sleep_until(at).await;
        let mut left = &edited.bytes[..];
        while !left.is_empty() {
            let size = shared.link.pass(way, left.len()).await;
            shared.link.open(way).await;
            let (piece, after) = left.split_at(size);
            if to.write_all(piece).await.is_err() {
                return;
            }
            left = after;
        }
        if edited.cut {
            shared.link.end(End::Closed);
            shared.plan.lock().unwrap().is_cut = false;
        }
    }
    // The end of the connection passes no sooner than anything else.
    shared.link.open(way).await;
}

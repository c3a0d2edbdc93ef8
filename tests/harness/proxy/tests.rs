//! Faults on connections between a client and a server that are plain sockets.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{Proxy, Way};

/// Long enough for what is passed on to arrive, short enough to wait for what is not.
const MOMENT: Duration = Duration::from_millis(100);
const PING: &[u8] = b"PING\r\n";
const ITEM: &[u8] = b"PUB a 1\r\nx\r\n";

/// A server's end and a client's, with a proxy between.
struct Bed {
    proxy: Proxy,
    listener: TcpListener,
    server: TcpStream,
    client: TcpStream,
}

impl Bed {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::before(listener.local_addr().unwrap().port()).await;
        let (client, server) = connected(&proxy, &listener).await;
        Self {
            proxy,
            listener,
            server,
            client,
        }
    }
}

async fn connected(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

async fn arrives(at: &mut TcpStream, wanted: &[u8]) {
    let mut bytes = vec![0; wanted.len()];
    let read = timeout(Duration::from_secs(10), at.read_exact(&mut bytes));
    read.await.expect("it arrives").unwrap();
    assert_eq!(bytes, wanted);
}

async fn is_silent(at: &mut TcpStream) {
    let read = timeout(MOMENT, at.read_u8()).await;
    assert!(read.is_err(), "nothing arrives: {read:?}");
}

/// Waits for the end of a connection; whether it was a reset.
async fn ended(at: &mut TcpStream) -> bool {
    let read = timeout(Duration::from_secs(10), at.read_u8());
    let error = read.await.expect("it ends").unwrap_err();
    error.kind() == std::io::ErrorKind::ConnectionReset
}

#[tokio::test]
async fn a_direction_is_held_and_freed_without_loss() {
    let mut bed = Bed::new().await;
    bed.proxy.hold(&[Way::Up]);
    bed.client.write_all(ITEM).await.unwrap();
    bed.server.write_all(PING).await.unwrap();
    arrives(&mut bed.client, PING).await;
    is_silent(&mut bed.server).await;
    bed.proxy.hold(Way::BOTH);
    bed.server.write_all(PING).await.unwrap();
    is_silent(&mut bed.client).await;
    bed.proxy.hold(&[]);
    arrives(&mut bed.server, ITEM).await;
    arrives(&mut bed.client, PING).await;
}

#[tokio::test]
async fn a_client_that_leaves_is_missed_when_its_direction_is_free_again() {
    let mut bed = Bed::new().await;
    bed.proxy.hold(&[Way::Up]);
    bed.client.write_all(ITEM).await.unwrap();
    drop(bed.client);
    is_silent(&mut bed.server).await;
    bed.proxy.hold(&[]);
    arrives(&mut bed.server, ITEM).await;
    ended(&mut bed.server).await;
}

#[tokio::test]
async fn latency_and_a_slow_link_take_their_time() {
    let mut bed = Bed::new().await;
    let begun = Instant::now();
    bed.proxy.delay(MOMENT);
    bed.client.write_all(PING).await.unwrap();
    arrives(&mut bed.server, PING).await;
    assert!(begun.elapsed() >= MOMENT);

    bed.proxy.delay(Duration::ZERO);
    bed.proxy.rate(Some(20_000));
    let begun = Instant::now();
    let large = [b"PUB a 6000\r\n", &[b'x'; 6000][..], b"\r\n"].concat();
    bed.client.write_all(&large).await.unwrap();
    arrives(&mut bed.server, &large).await;
    // The last piece leaves when the others have had their time.
    assert!(begun.elapsed() >= 2 * MOMENT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn all_connections_are_reset() {
    let mut bed = Bed::new().await;
    let (mut other, mut there) = connected(&bed.proxy, &bed.listener).await;
    other.write_all(PING).await.unwrap();
    arrives(&mut there, PING).await;
    bed.client.write_all(PING).await.unwrap();
    arrives(&mut bed.server, PING).await;
    bed.proxy.reset();
    for end in [&mut other, &mut there, &mut bed.client, &mut bed.server] {
        assert!(ended(end).await);
    }
    let (mut next, mut there) = connected(&bed.proxy, &bed.listener).await;
    next.write_all(PING).await.unwrap();
    arrives(&mut there, PING).await;
}

#[tokio::test]
async fn connections_are_refused_and_accepted_again() {
    let bed = Bed::new().await;
    bed.proxy.refuse(true);
    let mut refused = TcpStream::connect(("127.0.0.1", bed.proxy.port))
        .await
        .unwrap();
    assert!(ended(&mut refused).await);
    bed.proxy.refuse(false);
    connected(&bed.proxy, &bed.listener).await;
}

#[tokio::test]
async fn a_cut_lets_so_many_messages_pass_and_ends_every_connection() {
    let mut bed = Bed::new().await;
    let (mut other, mut there) = connected(&bed.proxy, &bed.listener).await;
    other.write_all(PING).await.unwrap();
    arrives(&mut there, PING).await;
    bed.proxy.cut_after(2);
    let item = b"MSG a 1 1\r\ny\r\n";
    bed.server.write_all(item).await.unwrap();
    arrives(&mut bed.client, item).await;
    let items = [ITEM, PING, ITEM].concat();
    bed.client.write_all(&items).await.unwrap();
    arrives(&mut bed.server, ITEM).await;
    for end in [&mut bed.server, &mut bed.client, &mut other, &mut there] {
        ended(end).await;
    }
    let seen = bed.proxy.seen();
    assert_eq!((seen.messages, seen.cuts, seen.connections), (2, 1, 2));
    let (mut next, mut there) = connected(&bed.proxy, &bed.listener).await;
    next.write_all(ITEM).await.unwrap();
    arrives(&mut there, ITEM).await;
}

#[tokio::test]
async fn a_message_of_a_stream_that_no_status_follows_passes_soon() {
    let mut bed = Bed::new().await;
    bed.proxy.statuses_first(true);
    let item = b"MSG work.x 7 $JS.ACK.W.c.1.2.3.4.0 1\r\nx\r\n";
    let status = b"HMSG i 7 16 16\r\nNATS/1.0 409\r\n\r\n\r\n";
    bed.server.write_all(item).await.unwrap();
    arrives(&mut bed.client, item).await;
    bed.server
        .write_all(&[&item[..], status].concat())
        .await
        .unwrap();
    arrives(&mut bed.client, &[&status[..], item].concat()).await;
    assert_eq!(bed.proxy.seen().statuses_moved, 1);
}

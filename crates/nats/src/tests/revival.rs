//! Messages that end the client of the library, and connections that are made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::pull::work;
use super::{SECOND, payload};
use crate::testing::{Connect as _, TestServer, until};
use crate::{ConnectSpec, Connection, Headers, Message, Role, Transport, TransportError};
use mistersmith_core::byte_budget::ByteBudget;

/// The library panics when it reads this one.
pub(super) const DEADLY: &[u8] = b"NATS/1.0\r\nX-A: a\rb\r\n\r\n";

/// Publishes such a message, and waits until the connection that hears it has another client.
async fn end_client(server: &TestServer, subject: &str, connection: &Connection) {
    let before = connection.revivals();
    server.publish_raw(subject, DEADLY, b"x").await;
    until("the client has ended", || connection.revivals() > before).await;
    until("there is another", || connection.is_connected()).await;
}

/// Publishes until something is heard.
async fn hears(
    server: &TestServer,
    subject: &str,
    what: impl Future<Output = Option<Message>>,
) -> Message {
    let send = async {
        loop {
            server.publish_raw(subject, b"", b"good").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        message = what => message.unwrap(),
        () = send => unreachable!(),
        () = tokio::time::sleep(10 * SECOND) => panic!("deaf"),
    }
}

#[tokio::test]
async fn a_carriage_return_in_a_header_costs_one_connection_for_a_moment() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let mut subscription = connection.subscribe("a.*", None).await.unwrap();
    let mut grouped = connection.subscribe("a.*", Some("q")).await.unwrap();
    let budget = ByteBudget::new(1024 * 1024);
    let mut intake = connection
        .subscribe_inline("b.>", None, &budget)
        .await
        .unwrap();
    let waiting = {
        let (connection, _nobody) = (
            connection.clone(),
            connection.subscribe("never", None).await.unwrap(),
        );
        tokio::spawn(async move {
            let _nobody = _nobody;
            connection
                .request("never", Headers::new(), Bytes::new(), 60 * SECOND)
                .await
        })
    };
    until("the request waits", || connection.waiting_requests() == 1).await;
    for round in 1..=3 {
        let start = Instant::now();
        end_client(&server, "a.x", connection).await;
        connection.round_trip(5 * SECOND).await.unwrap();
        println!("round {round}: {:?}", start.elapsed());
        assert_eq!(
            hears(&server, "a.y", subscription.next()).await.payload,
            payload("good")
        );
        hears(&server, "a.y", grouped.next()).await;
        hears(&server, "b.y.z", intake.next()).await;
        assert_eq!(
            (connection.revivals(), connection.reconnects()),
            (round, round)
        );
    }
    let ended = tokio::time::timeout(SECOND, waiting)
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(ended, Err(TransportError::Unavailable(_))),
        "{ended:?}"
    );
    for role in [Role::Control, Role::Work] {
        assert_eq!(
            transport.connection(role).reconnects(),
            0,
            "they heard nothing of it"
        );
    }
    assert_eq!(transport.state().revivals, 3);

    // And everything ends as it does otherwise.
    subscription.stop();
    intake.stop().await;
    until_over(async || subscription.next().await).await;
    until_over(async || intake.next().await).await;
    server.publish_raw("b.y.z", b"", b"late").await;
    connection.round_trip(SECOND).await.unwrap();
    assert!(transport.drain(5 * SECOND).await);
    until_over(async || grouped.next().await).await;
}

async fn until_over(mut next: impl AsyncFnMut() -> Option<Message>) {
    let over = async { while next().await.is_some() {} };
    tokio::time::timeout(10 * SECOND, over)
        .await
        .expect("it has an end");
}

#[tokio::test]
async fn a_storm_of_them_leaves_most_requests_answered() {
    let server = TestServer::start().await;
    let hit = server.connect().await;
    let connection = hit.connection(Role::Bulk).clone();
    let budget = ByteBudget::new(1024 * 1024);
    let mut questions = connection
        .subscribe_inline("echo", Some("q"), &budget)
        .await
        .unwrap();
    let mut poisoned = connection.subscribe("poison", None).await.unwrap();
    tokio::spawn(async move { while poisoned.next().await.is_some() {} });
    let answering = connection.clone();
    tokio::spawn(async move {
        while let Some(question) = questions.next().await {
            let reply = question.reply.unwrap();
            let _ = answering
                .publish(&reply, None, Headers::new(), question.payload)
                .await;
        }
    });
    let outside = server.connect().await;
    // Two a second, each at another moment between two questions.
    let mut deadly = tokio::time::interval(Duration::from_millis(487));
    let mut clock = tokio::time::interval(Duration::from_millis(10));
    // No questions at once for those that had to wait while a deadly one was sent.
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut asked = tokio::task::JoinSet::new();
    while asked.len() < 300 {
        tokio::select! {
            _ = clock.tick() => {}
            _ = deadly.tick() => {
                server.publish_raw("poison", DEADLY, b"x").await;
                continue;
            }
        }
        let connection = outside.connection(Role::Work).clone();
        asked.spawn(async move {
            let answer = connection.request("echo", Headers::new(), payload("?"), SECOND);
            answer.await.is_ok()
        });
    }
    let answers = asked.join_all().await;
    let answered = answers.iter().filter(|answered| **answered).count();
    println!(
        "{answered} of {} answered, {} revivals",
        answers.len(),
        connection.revivals()
    );
    assert!(connection.revivals() >= 5);
    // Fewer than a host of its own answers: here one thread sends, asks, answers and connects.
    assert!(answered * 100 >= answers.len() * 90, "{answered}");
}

#[tokio::test]
async fn a_flood_of_them_is_no_flood_of_connections() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let _poisoned = connection.subscribe("poison", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        server.publish_raw("poison", DEADLY, b"x").await;
    }
    let most = 2 + u64::try_from(start.elapsed().as_millis() / 100).unwrap();
    let revivals = connection.revivals();
    assert!(
        (3..=most).contains(&revivals),
        "{revivals} in {:?}",
        start.elapsed()
    );
    until("it is over", || connection.is_connected()).await;
    connection.round_trip(5 * SECOND).await.unwrap();
}

#[tokio::test]
async fn what_is_sent_while_a_client_is_replaced_waits_for_the_next() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let _poisoned = connection.subscribe("poison", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();
    server.publish_raw("poison", DEADLY, b"x").await;
    let start = Instant::now();
    // In the gap, if the machine is not too slow for that.
    while connection.is_connected() && connection.revivals() == 0 {
        assert!(start.elapsed() < 5 * SECOND);
        tokio::task::yield_now().await;
    }
    connection
        .publish("a", None, Headers::new(), Bytes::new())
        .await
        .unwrap();
    assert!(connection.is_connected());
}

#[tokio::test]
async fn a_client_that_ends_while_the_server_is_away_is_made_again_when_it_is_back() {
    let mut server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Bulk);
    let mut heard = connection.subscribe("a", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();
    server.publish_raw("a", DEADLY, b"x").await;
    server.stop();
    until("the client has ended", || {
        connection.revivals() > 0 || !connection.is_connected()
    })
    .await;
    let refused = connection
        .publish("a", None, Headers::new(), Bytes::new())
        .await;
    assert!(
        matches!(refused, Err(TransportError::Unavailable(_))),
        "{refused:?}"
    );
    server.start_again().await;
    until("the connection is up", || connection.is_connected()).await;
    hears(&server, "a", heard.next()).await;
}

#[tokio::test]
async fn a_pull_ends_with_its_client_and_the_next_one_waits_for_another() {
    let server = TestServer::start().await;
    let transport = server.connect().await;
    let connection = transport.connection(Role::Work);
    work(connection, 1, 30 * SECOND).await;
    let _poisoned = connection.subscribe("poison", None).await.unwrap();
    let puller = connection.puller("W", "c");
    // One pull stands; the inbox of another one waits for the next.
    let mut done = puller.pull(1, 20 * SECOND).await.unwrap();
    let mut standing = puller.pull(1, 20 * SECOND).await.unwrap();
    done.next().await.unwrap().unwrap();
    assert!(done.next().await.is_none());
    assert_eq!(puller.idle_inboxes(), 1);
    let start = Instant::now();
    server.publish_raw("poison", DEADLY, b"x").await;
    // In the gap, if the machine is not too slow for that.
    while connection.is_connected() && connection.revivals() == 0 {
        assert!(start.elapsed() < 5 * SECOND);
        tokio::task::yield_now().await;
    }
    let mut next = puller.pull(1, 20 * SECOND).await.unwrap();
    let ended = tokio::time::timeout(SECOND, standing.next()).await.unwrap();
    assert!(
        matches!(ended, Some(Err(TransportError::Unavailable(_)))),
        "{ended:?}"
    );
    connection
        .publish_stored("w.a", Headers::new(), payload("good"), SECOND)
        .await
        .unwrap();
    let came = tokio::time::timeout(5 * SECOND, next.next()).await;
    let came = came.unwrap().unwrap().unwrap();
    assert_eq!(came.message.payload, payload("good"));
}

#[tokio::test]
async fn a_spare_client_is_kept_for_the_messages_that_follow() {
    let server = TestServer::start().await;
    let door = Door::before(&server).await;
    let spec = ConnectSpec {
        servers: vec![door.url.clone()],
        ..server.spec()
    };
    let transport = Transport::connect(spec).await.unwrap();
    let connection = transport.connection(Role::Bulk);
    let mut heard = connection.subscribe("a", None).await.unwrap();
    connection.round_trip(SECOND).await.unwrap();
    end_client(&server, "a", connection).await;
    // Those of the three connections, the one that was made again, and a spare one.
    until("a spare client is connected", || door.through() == 5).await;
    door.close();
    end_client(&server, "a", connection).await;
    connection.round_trip(5 * SECOND).await.unwrap();
    hears(&server, "a", heard.next()).await;
    assert_eq!((connection.revivals(), connection.reconnects()), (2, 2));
}

/// Stands before a server; once it is closed, only those who are through already speak with it.
struct Door {
    url: String,
    closed: Arc<AtomicBool>,
    through: Arc<AtomicUsize>,
}

impl Door {
    async fn before(server: &TestServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (closed, through) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let address = server.url().trim_start_matches("nats://").to_owned();
        let (is_closed, counter) = (Arc::clone(&closed), Arc::clone(&through));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if !is_closed.load(Ordering::Relaxed) {
                    let server = TcpStream::connect(&address).await.unwrap();
                    tokio::spawn(pass(client, server, Arc::clone(&counter)));
                }
            }
        });
        Self {
            url,
            closed,
            through,
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// How many clients the server has welcomed.
    fn through(&self) -> usize {
        self.through.load(Ordering::Relaxed)
    }
}

/// Copies both ways until one side ends. The first answer to a ping of the client is the welcome.
async fn pass(client: TcpStream, server: TcpStream, through: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        let (mut part, mut welcome) = (vec![0; 65_536], false);
        loop {
            let length = from_server.read(&mut part).await.unwrap_or(0);
            if length == 0 || to_client.write_all(&part[..length]).await.is_err() {
                return;
            }
            if !welcome && part[..length].starts_with(b"PONG") {
                welcome = true;
                through.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
    }
}

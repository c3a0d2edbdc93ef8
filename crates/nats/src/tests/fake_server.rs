//! A NATS server that says what a script says, in the very order of the script: a real one refuses
//! messages that look like deliveries, and chooses the order itself.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};

use crate::testing::by;
use crate::{ConnectSpec, Transport};

/// What the client has asked of JetStream.
pub(super) struct Asked {
    /// A pull, a word on a delivery, a message for a stream, or a call of the API.
    pub(super) subject: String,
    pub(super) reply: String,
    pub(super) headers: String,
    pub(super) payload: String,
    wire: Arc<Mutex<Wire>>,
}

/// One connection: where it is written to, and its subscriptions with their numbers.
struct Wire {
    writer: OwnedWriteHalf,
    subscriptions: Vec<(String, String)>,
}

/// Pulls, words on deliveries, and what else JetStream would answer, as they come.
pub(super) struct FakeServer {
    pulls: Mutex<mpsc::UnboundedReceiver<Asked>>,
    acks: Mutex<mpsc::UnboundedReceiver<Asked>>,
    others: Mutex<mpsc::UnboundedReceiver<Asked>>,
    _task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Events {
    pulls: mpsc::UnboundedSender<Asked>,
    acks: mpsc::UnboundedSender<Asked>,
    others: mpsc::UnboundedSender<Asked>,
}

impl FakeServer {
    /// The server, and a client of it.
    pub(super) async fn start() -> (Self, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let ((to_pulls, pulls), (to_acks, acks)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (to_others, others) = mpsc::unbounded_channel();
        let events = Events {
            pulls: to_pulls,
            acks: to_acks,
            others: to_others,
        };
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, events.clone()));
            }
        });
        let spec = ConnectSpec::open(vec![format!("nats://127.0.0.1:{port}")], "test");
        let transport = Transport::connect(spec).await.unwrap();
        let server = Self {
            pulls: Mutex::new(pulls),
            acks: Mutex::new(acks),
            others: Mutex::new(others),
            _task: task,
        };
        (server, transport)
    }

    /// The next pull, and what it asks for.
    pub(super) async fn pull(&self) -> (Asked, Value) {
        let asked = by("a pull", self.pulls.lock().await.recv()).await.unwrap();
        let body = serde_json::from_str(&asked.payload).unwrap();
        (asked, body)
    }

    /// The next message for a stream, or call of the API.
    pub(super) async fn asked(&self) -> Asked {
        by("a request", self.others.lock().await.recv())
            .await
            .unwrap()
    }

    /// What is said of a delivery next: its sequence and the word.
    pub(super) async fn fate(&self) -> (u64, String) {
        let ack = by("a word", self.acks.lock().await.recv()).await.unwrap();
        let sequence = ack.subject.split('.').nth(5).unwrap().parse().unwrap();
        let word = ack.payload.split(' ').next().unwrap().to_owned();
        (sequence, word)
    }
}

impl Asked {
    /// An answer, as the API and streams give it.
    pub(super) async fn answer(&self, answer: Value) {
        let mut wire = self.wire.lock().await;
        let answer = answer.to_string();
        wire.message(&self.reply, &self.reply, "", answer.as_bytes())
            .await;
    }

    /// A status for this pull.
    pub(super) async fn status(&self, status: &str, pending: Option<u64>) {
        let pending = pending.map(|n| format!("Nats-Pending-Messages: {n}\r\n"));
        let headers = format!("NATS/1.0 {status}\r\n{}\r\n", pending.unwrap_or_default());
        self.wire.lock().await.status(&self.reply, &headers).await;
    }

    /// A message for this pull, under the subject that it has in its stream.
    pub(super) async fn message(&self, sequence: u64) {
        self.message_on("w.a", sequence, 0).await;
    }

    /// The same on another subject, with so many behind it.
    pub(super) async fn message_on(&self, subject: &str, sequence: u64, pending: u64) {
        let ack = format!("$JS.ACK.W.c.1.{sequence}.{sequence}.1790230470084404000.{pending}");
        let mut wire = self.wire.lock().await;
        wire.message(&self.reply, subject, &ack, b"x").await;
    }
}

impl Wire {
    async fn status(&mut self, to: &str, headers: &str) {
        for number in self.numbers(to) {
            let length = headers.len();
            let text = format!("HMSG {to} {number} {length} {length}\r\n{headers}\r\n");
            self.writer.write_all(text.as_bytes()).await.unwrap();
        }
    }

    async fn message(&mut self, to: &str, subject: &str, reply: &str, payload: &[u8]) {
        for number in self.numbers(to) {
            let head = format!("MSG {subject} {number} {reply} {}\r\n", payload.len());
            let text = [head.as_bytes(), payload, b"\r\n"].concat();
            self.writer.write_all(&text).await.unwrap();
        }
    }

    fn numbers(&self, subject: &str) -> Vec<String> {
        let of = |(pattern, number): &(String, String)| {
            mistersmith_core::names::subject::matches(pattern, subject).then(|| number.clone())
        };
        self.subscriptions.iter().filter_map(of).collect()
    }
}

async fn serve(socket: TcpStream, events: Events) {
    let (reader, mut writer) = socket.into_split();
    let info = json!({
        "server_id": "F", "server_name": "fake", "version": "2.15.1", "proto": 1, "headers": true,
        "max_payload": 1_048_576, "jetstream": true, "host": "127.0.0.1", "port": 0, "go": "",
        "client_id": 1,
    });
    let hello = format!("INFO {info}\r\n");
    writer.write_all(hello.as_bytes()).await.unwrap();
    let wire = Arc::new(Mutex::new(Wire {
        writer,
        subscriptions: Vec::new(),
    }));
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    while reader.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["PING"] => {
                let mut wire = wire.lock().await;
                let _ = wire.writer.write_all(b"PONG\r\n").await;
            }
            ["SUB", pattern, .., number] => {
                let subscription = ((*pattern).to_owned(), (*number).to_owned());
                wire.lock().await.subscriptions.push(subscription);
            }
            ["UNSUB", number] => {
                let mut wire = wire.lock().await;
                wire.subscriptions.retain(|(_, other)| other != number);
            }
            ["PUB" | "HPUB", ..] => {
                let asked = read_message(&mut reader, &words, &wire).await;
                answer(asked, &events).await;
            }
            _ => {}
        }
        line.clear();
    }
}

async fn read_message(
    reader: &mut BufReader<OwnedReadHalf>,
    words: &[&str],
    wire: &Arc<Mutex<Wire>>,
) -> Asked {
    let sizes = if words[0] == "HPUB" { 2 } else { 1 };
    let size = |at: usize| words[words.len() - at].parse::<usize>().unwrap();
    let (all, headers) = (size(1), if sizes == 2 { size(2) } else { 0 });
    let mut body = vec![0; all + 2];
    reader.read_exact(&mut body).await.unwrap();
    let has_reply = words.len() == 3 + sizes;
    Asked {
        subject: words[1].to_owned(),
        reply: if has_reply {
            words[2].to_owned()
        } else {
            String::new()
        },
        headers: String::from_utf8_lossy(&body[..headers]).into_owned(),
        payload: String::from_utf8_lossy(&body[headers..all]).into_owned(),
        wire: wire.clone(),
    }
}

async fn answer(asked: Asked, events: &Events) {
    let subject = asked.subject.clone();
    if subject.starts_with("$JS.API.CONSUMER.INFO.W.") {
        let info = br#"{"config":{"max_batch":100}}"#;
        let mut wire = asked.wire.lock().await;
        wire.message(&asked.reply, &asked.reply, "", info).await;
    } else if subject.starts_with("$JS.API.CONSUMER.MSG.NEXT.") {
        let _ = events.pulls.send(asked);
    } else if subject.starts_with("$JS.ACK.") {
        let _ = events.acks.send(asked);
    } else if ["s.", "$KV.", "$JS.API."]
        .iter()
        .any(|prefix| subject.starts_with(prefix))
    {
        let _ = events.others.send(asked);
    } else {
        let mut wire = asked.wire.lock().await;
        let payload = asked.payload.as_bytes();
        wire.message(&subject, &subject, &asked.reply, payload)
            .await;
    }
}

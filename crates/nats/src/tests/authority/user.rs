//! A user of the server over a plain socket: a client library would refuse some of what is tried.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::cases::{Case, filled};

/// The configuration of a server with two users for each set, and one who may do everything.
pub(super) fn configuration(sets: &[Case]) -> String {
    let mut users = vec![json!({ "user": "admin", "password": "x" })];
    for (number, case) in sets.iter().enumerate() {
        let deny = filled(&case.spec.deny);
        // To a server an empty list allows everything, see `an_empty_list_…`.
        let list = |allow: &[String]| match filled(allow) {
            allow if allow.is_empty() => json!({ "deny": [">"] }),
            allow => json!({ "allow": allow, "deny": deny }),
        };
        for (letter, publish) in [("p", &case.spec.publish), ("r", &case.spec.request)] {
            users.push(json!({
                "user": format!("{letter}{number}"),
                "password": "x",
                "permissions": {
                    "publish": list(publish),
                    "subscribe": list(&case.spec.subscribe),
                },
            }));
        }
    }
    let users: Vec<String> = users.iter().map(ToString::to_string).collect();
    format!("authorization {{ users: [\n{}\n] }}", users.join("\n"))
}

/// Whether a text can stand in a line of the protocol: else it would be another line.
pub(super) fn is_sendable(subject: &str) -> bool {
    !subject.is_empty() && subject.bytes().all(|b| b > b' ' && b != 0x7f)
}

pub(super) struct User {
    socket: TcpStream,
    lines: BufReader<TcpStream>,
    messages: Vec<usize>,
    /// The version of the server.
    pub(super) version: String,
}

impl User {
    pub(super) fn connect(port: u16, name: &str) -> Self {
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let deadline = Some(Duration::from_secs(30));
        socket.set_read_timeout(deadline).unwrap();
        let mut lines = BufReader::new(socket.try_clone().unwrap());
        let mut hello = String::new();
        lines.read_line(&mut hello).unwrap();
        let hello: Value = serde_json::from_str(hello.trim_start_matches("INFO ")).unwrap();
        let mut user = Self {
            version: hello["version"].as_str().unwrap().to_owned(),
            socket,
            lines,
            messages: Vec::new(),
        };
        let connect = json!({ "verbose": false, "pedantic": false, "user": name, "pass": "x" });
        user.send(&format!("CONNECT {connect}\r\nPING\r\n"));
        assert_eq!(user.pongs(1), [true], "{name}");
        user
    }

    /// Publishes on each subject; whether the server allowed it. What cannot be sent is refused.
    pub(super) fn publish(&mut self, subjects: &[String]) -> Vec<bool> {
        self.each(subjects.iter().map(|subject| {
            let sendable = is_sendable(subject);
            sendable.then(|| format!("PUB {subject} 0\r\n\r\n"))
        }))
    }

    /// Subscribes to each pattern, and ends that.
    pub(super) fn subscribe(&mut self, patterns: &[(String, Option<String>)]) -> Vec<bool> {
        self.each(patterns.iter().map(|(pattern, queue)| {
            let queue = queue.as_deref().unwrap_or_default();
            let sendable = is_sendable(pattern);
            sendable.then(|| format!("SUB {pattern} {queue} 0\r\nUNSUB 0\r\n"))
        }))
    }

    /// Subscribes to each pattern under its number.
    pub(super) fn subscribe_to(&mut self, patterns: &[&str]) -> Vec<bool> {
        let numbered = patterns.iter().enumerate();
        self.each(numbered.map(|(sid, pattern)| Some(format!("SUB {pattern} {sid}\r\n"))))
    }

    /// The numbers of the subscriptions through which a message has come.
    pub(super) fn heard(&mut self) -> Vec<usize> {
        self.send("PING\r\n");
        self.pongs(1);
        std::mem::take(&mut self.messages)
    }

    fn each(&mut self, requests: impl Iterator<Item = Option<String>>) -> Vec<bool> {
        let mut text = String::new();
        let mut count = 0;
        let sent: Vec<bool> = requests
            .map(|request| {
                let Some(request) = request else { return false };
                text += &request;
                text += "PING\r\n";
                count += 1;
                true
            })
            .collect();
        self.send(&text);
        let mut answers = self.pongs(count).into_iter();
        sent.into_iter()
            .map(|sent| sent && answers.next().unwrap())
            .collect()
    }

    fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    /// Reads so many answers to PING; for each, whether no error came before it.
    fn pongs(&mut self, count: usize) -> Vec<bool> {
        let mut answers = Vec::with_capacity(count);
        let mut refused = false;
        while answers.len() < count {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "closed");
            match line.split_whitespace().next() {
                Some("PONG") => answers.push(!std::mem::take(&mut refused)),
                Some("-ERR") => {
                    let known = ["Permissions Violation", "Invalid Subject"];
                    assert!(known.iter().any(|known| line.contains(known)), "{line}");
                    refused = true;
                }
                Some("MSG") => {
                    let sid = line.split(' ').rev().nth(1).unwrap();
                    self.messages.push(sid.parse().unwrap());
                }
                Some("INFO") | None => {}
                Some(other) => panic!("{other} is not expected: {line}"),
            }
        }
        answers
    }
}

//! Messages that no client library would send, written to a plain socket.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use super::nats::Nats;

/// The client library of the host panics when it reads these headers.
pub const DEADLY: &[u8] = b"NATS/1.0\r\nX-A: a\rb\r\n\r\n";

impl Nats {
    /// Publishes raw bytes; returns when the server has accepted them.
    pub fn publish_raw(&self, subject: &str, headers: &[u8], payload: &[u8]) {
        self.publish_raw_as(&json!({}), subject, headers, payload);
    }

    /// Publishes raw bytes with a login: `{"user", "pass"}`.
    pub fn publish_raw_as(&self, login: &Value, subject: &str, headers: &[u8], payload: &[u8]) {
        let mut connect = json!({"headers": true, "verbose": false});
        let members = connect.as_object_mut().unwrap();
        members.extend(login.as_object().unwrap().clone());
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", self.port())).unwrap();
        let (length, size) = (headers.len(), headers.len() + payload.len());
        let line = format!("CONNECT {connect}\r\nHPUB {subject} {length} {size}\r\n");
        for part in [line.as_bytes(), headers, payload, b"\r\nPING\r\n"] {
            socket.write_all(part).unwrap();
        }
        let mut read = Vec::new();
        while !read.ends_with(b"PONG\r\n") {
            let mut part = [0; 4096];
            let length = socket.read(&mut part).unwrap();
            assert!(length > 0, "{}", String::from_utf8_lossy(&read));
            read.extend_from_slice(&part[..length]);
        }
    }
}

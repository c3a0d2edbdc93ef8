//! A door in front of a server at which is heard what the server refuses, and to whom: the protocol says
//! it in the same words for all versions, and the logs of servers do not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What was refused to each user who came in by this door.
type Refusals = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

#[derive(Debug)]
pub struct Tap {
    pub port: u16,
    refusals: Refusals,
    task: JoinHandle<()>,
}

impl Tap {
    /// In front of the server on this port of loopback.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refusals = Refusals::default();
        let heard = Arc::clone(&refusals);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, Arc::clone(&heard)));
            }
        });
        Self {
            port,
            refusals,
            task,
        }
    }

    /// What the server has refused to this user, who has come in by this door.
    pub fn refused_to(&self, user: &str) -> Vec<String> {
        let refusals = self.refusals.lock().unwrap();
        let refused = refusals.get(user);
        refused
            .unwrap_or_else(|| panic!("{user} did not come in here"))
            .clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(client: TcpStream, server: u16, refusals: Refusals) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let user = Arc::new(Mutex::new(String::new()));
    let named = Arc::clone(&user);
    let arrivals = Arc::clone(&refusals);
    let up = hand_on(from_client, to_server, "CONNECT ", move |login| {
        let login: serde_json::Value = serde_json::from_str(login).unwrap_or_default();
        let name = login["user"].as_str().unwrap_or_default().to_owned();
        let mut arrivals = arrivals.lock().unwrap();
        arrivals.entry(name.clone()).or_default();
        *named.lock().unwrap() = name;
    });
    let down = hand_on(from_server, to_client, "-ERR ", move |error| {
        let user = user.lock().unwrap().clone();
        let mut refusals = refusals.lock().unwrap();
        refusals.entry(user).or_default().push(error.to_owned());
    });
    // Who goes away on one side is gone on the other.
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Hands on all bytes, after the rest of each line that begins so was told.
async fn hand_on(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    begin: &'static str,
    tell: impl Fn(&str),
) {
    let mut line = Vec::new();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(size @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        for byte in &bytes[..size] {
            if *byte != b'\n' {
                // No line that is told is longer.
                if line.len() < 4096 {
                    line.push(*byte);
                }
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            if let Some(rest) = text.strip_prefix(begin) {
                tell(rest.trim());
            }
            line.clear();
        }
        if to.write_all(&bytes[..size]).await.is_err() {
            return;
        }
    }
}

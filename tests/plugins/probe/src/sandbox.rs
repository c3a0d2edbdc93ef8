//! What a sandbox refuses or bounds: each is tried by the standard library alone.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::SystemTime;
use std::{env, fs, thread};

use std::hash::{BuildHasher, RandomState};

use mistersmith_sdk::{Value, json};

use crate::command::Sandbox;

/// Tries it; what is refused is `{"error": {"kind": "io", "message"}}`.
pub(crate) fn run(sandbox: Sandbox) -> Value {
    attempt(sandbox)
        .unwrap_or_else(|error| json!({"error": {"kind": "io", "message": error.to_string()}}))
}

fn attempt(sandbox: Sandbox) -> io::Result<Value> {
    Ok(match sandbox {
        Sandbox::Env {} => {
            let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            let vars = env::vars_os().map(|(name, value)| (lossy(name), lossy(value)));
            json!({"env": vars.collect::<BTreeMap<_, _>>()})
        }
        Sandbox::Args {} => {
            let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            json!({"args": env::args_os().map(lossy).collect::<Vec<_>>()})
        }
        Sandbox::OpenFile { path, write: false } => json!({"bytes": fs::read(path)?.len()}),
        Sandbox::OpenFile { path, write: true } => {
            fs::write(path, "probe")?;
            json!({"bytes": 5})
        }
        Sandbox::ListFolder { path } => json!({"files": fs::read_dir(path)?.count()}),
        Sandbox::Connect { address } => {
            json!({"connected": TcpStream::connect(address)?.peer_addr()?.to_string()})
        }
        Sandbox::Listen { address } => {
            json!({"listening": TcpListener::bind(address)?.local_addr()?.to_string()})
        }
        Sandbox::BindUdp { address } => {
            json!({"bound": UdpSocket::bind(address)?.local_addr()?.to_string()})
        }
        Sandbox::Resolve { host } => {
            let found: Vec<String> = (host, 80)
                .to_socket_addrs()?
                .map(|a| a.to_string())
                .collect();
            json!({"addresses": found})
        }
        Sandbox::Stdin {} => {
            let mut line = String::new();
            json!({"bytes": io::stdin().read_line(&mut line)?, "line": line})
        }
        Sandbox::Random {} => json!({"random": RandomState::new().hash_one(0)}),
        Sandbox::Clock {} => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            let now = now.map_err(io::Error::other)?.as_millis();
            json!({"ms": u64::try_from(now).map_err(io::Error::other)?})
        }
        Sandbox::Thread {} => {
            let thread = thread::Builder::new().spawn(|| 1)?;
            json!({"thread": thread.join().is_ok()})
        }
    })
}

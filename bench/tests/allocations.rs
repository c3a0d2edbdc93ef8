//! How often memory is allocated for one message: a measure of what a message costs that is the
//! same on every machine, and a test that fails when it grows.
//!
//! The bounds have room for another version of a library, not for another copy of each message. One
//! that has become far too wide is to be lowered. Only what runs on the test's own thread is
//! counted: host, client and their connections all do.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests read what they have made, and print why they fail"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use harness::program;
use mistersmith::host::Host;
use mistersmith_bench::calls::{Parts, call};
use mistersmith_core::config::{HostEnv, load_host};
use mistersmith_nats::server::ServerConnection;
use mistersmith_nats::{Connection, Headers, Role, Transport};
use mistersmith_runtime::Outcome;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Messages that are counted: what happens now and then is spread over them.
const MESSAGES: u32 = 500;
/// Messages before them.
const WARM_UP: u32 = 100;
/// How long one message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A call in process: 1 without a payload, 2 with one, 3 with a large one.
const CALL: f64 = 4.0;
/// A request and its reply, both ends: 45.
const REQUEST: f64 = 60.0;
/// A work item, published, pulled, handled, its result stored and heard, the acknowledgement
/// confirmed, both ends: 111.
const ITEM: f64 = 145.0;

/// The component `bench`, as `make test` has put it there.
fn component() -> PathBuf {
    let folder = std::env::var_os("MISTERSMITH_TEST_PLUGINS")
        .expect("MISTERSMITH_TEST_PLUGINS names the compiled plugins: run `make test`");
    Path::new(&folder).join("bench").join("bench.wasm")
}

/// Everything on one thread.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Allocations of one message, of many that `each` handles.
fn per_message(runtime: &Runtime, mut each: impl AsyncFnMut()) -> f64 {
    let mut handle = |messages: u32| {
        runtime.block_on(async {
            for _ in 0..messages {
                each().await;
            }
        });
    };
    handle(WARM_UP);
    let counted = measure(|| handle(MESSAGES));
    counted.count_total as f64 / f64::from(MESSAGES)
}

fn check(what: &str, counted: f64, most: f64) {
    println!("{what}: {counted:.2} allocations");
    assert!(
        counted <= most,
        "{what}: {counted:.2} allocations, at most {most} are expected"
    );
    assert!(counted > 0.0, "{what}: nothing was counted");
}

#[test]
fn a_call_allocates_little() {
    let bytes = std::fs::read(component()).expect("the component bench");
    let runtime = runtime();
    let parts = runtime
        .block_on(Parts::new(&program("mistersmith"), &bytes, None))
        .unwrap();
    let mut agent = runtime.block_on(parts.instance()).unwrap();
    for (size, most) in [(0, CALL), (64, CALL), (65_536, CALL)] {
        let call = call("echo", Bytes::from(vec![b'x'; size]));
        let counted = per_message(&runtime, async || {
            let outcome = agent.handle(&call).await;
            assert!(matches!(outcome, Outcome::Done(Some(_))), "{outcome:?}");
        });
        check(&format!("a call with {size} bytes"), counted, most);
    }
}

/// A host in this thread, and a client.
struct Running {
    runtime: Runtime,
    client: Transport,
    stop: CancellationToken,
    host: tokio::task::JoinHandle<mistersmith::host::Ended>,
    _folder: tempfile::TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let plugin = folder.path().join("plugins/bench");
        std::fs::create_dir_all(&plugin).unwrap();
        std::fs::copy(component(), plugin.join("bench.wasm")).expect("the component bench");
        std::fs::write(plugin.join("plugin.toml"), MANIFEST).unwrap();
        let server = std::env::var_os("MISTERSMITH_NATS_SERVER").expect(
            "MISTERSMITH_NATS_SERVER does not name a nats-server: run `make test`, \
              or `export MISTERSMITH_NATS_SERVER=$(scripts/nats-server)`",
        );
        let environment = HostEnv {
            nats_server: Some(server.into()),
            compiler: program("mistersmith"),
            ..HostEnv::default()
        };
        let mut spec = load_host(None, &environment).unwrap();
        spec.plugins = folder.path().join("plugins");
        spec.data = folder.path().join("data");
        let data = spec.data.clone();
        let runtime = runtime();
        let (client, stop, host) = runtime.block_on(async {
            let stop = CancellationToken::new();
            let mut host = Host::build(spec, &stop).await.unwrap().unwrap();
            host.load_all().await;
            let server = ServerConnection::read(&data).unwrap().unwrap();
            let client = Transport::connect(server.connect_spec("test"))
                .await
                .unwrap();
            (client, stop, tokio::spawn(host.run()))
        });
        Self {
            runtime,
            client,
            stop,
            host,
            _folder: folder,
        }
    }

    fn connection(&self) -> Connection {
        self.client.connection(Role::Bulk).clone()
    }

    fn end(self) {
        self.stop.cancel();
        self.runtime.block_on(self.host).unwrap();
    }
}

const MANIFEST: &str = "[plugin]\nname = \"bench\"\n\
    [[subscribe]]\nsubject = \"bench.echo\"\nqueue = \"bench\"\n\
    [[work]]\ndomain = \"bench\"\ntask = \"echo\"\n";

#[test]
fn a_message_through_nats_allocates_little() {
    let running = Running::start();
    let connection = running.connection();
    let payload = Bytes::from_static(&[b'x'; 64]);
    let counted = per_message(&running.runtime, async || {
        let answer = connection.request("bench.echo", Headers::new(), payload.clone(), PATIENCE);
        assert_eq!(answer.await.unwrap().payload, payload);
    });
    check("a request and its reply", counted, REQUEST);
    let mut results = running
        .runtime
        .block_on(connection.subscribe("agent.*.resp.*", None))
        .unwrap();
    let counted = per_message(&running.runtime, async || {
        let published =
            connection.publish("work.bench.echo", None, Headers::new(), payload.clone());
        published.await.unwrap();
        let result = tokio::time::timeout(PATIENCE, results.next()).await;
        assert_eq!(result.unwrap().unwrap().payload, payload);
    });
    check("a work item", counted, ITEM);
    running.end();
}

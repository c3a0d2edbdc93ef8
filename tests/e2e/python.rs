//! The scripts of `tests/python`, each run against a host with the example plugins. A script
//! asserts what it shows; here only its exit code counts.

use std::path::PathBuf;

use harness::{Host, Nats, Plugin, component, python, repository};

/// Where the scripts are.
fn folder() -> PathBuf {
    repository("tests/python")
}

/// The component of `echo` under another name, hearing these subjects.
fn listener(name: &str, subject: &str) -> Plugin {
    Plugin::bare(name)
        .component(component("echo"))
        .subscribe(subject)
}

async fn run(script: &str) {
    let nats = Nats::start().await;
    let plugins = ["echo", "sentiment", "word-count"].map(Plugin::shipped);
    let listeners = [
        listener("status-listener", "agents.*.status"),
        listener("all-listener", "agents.>"),
    ];
    let host = plugins
        .into_iter()
        .chain(listeners)
        .fold(Host::new(&nats), Host::with);
    let _running = host.run().await;
    let file = folder().join(script);
    let ran = python(&folder(), &[("NATS_URL", &nats.url())], &[file]).await;
    println!("{}", ran.stdout);
    assert_eq!(ran.code, Some(0), "{script}\n{}{}", ran.stdout, ran.stderr);
}

/// One test for each script, and one that there is none without.
macro_rules! scripts {
    ($($name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                run(concat!(stringify!($name), ".py")).await;
            }
        )*

        #[test]
        fn every_script_is_run() {
            let mut there: Vec<String> = std::fs::read_dir(folder())
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .filter(|name| name.ends_with(".py") && name != "outside.py")
                .collect();
            there.sort();
            assert_eq!(there, [$(concat!(stringify!($name), ".py")),*]);
        }
    };
}

scripts! {
    connect
    error_handling
    jetstream_replay
    publish_subscribe
    queue_groups
    request_reply
    wildcards
    workflow
}

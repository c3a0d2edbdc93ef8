//! The surroundings of a scenario: a server, a proxy in front of it, and hosts.

use harness::{Host, Nats, Plugin, Proxy, Running};

use super::load::Load;
use super::pace::Pace;
use super::settled::settle;

/// The plugin of every scenario: work, and two stages.
pub(super) fn worker(plugin: Plugin) -> Plugin {
    plugin
        .instances(4)
        .work_with("lab", "*", "max_deliver = 8\nbackoff = [\"100ms\", \"1s\"]")
        .stage("read", "next = [\"write\"]")
        .stage("write", "")
}

#[derive(Debug)]
pub(super) struct Bed {
    pub(super) nats: Nats,
    /// Between the hosts and the server; the test's own client does not go through it.
    pub(super) proxy: Proxy,
    pub(super) hosts: Vec<Running>,
}

impl Bed {
    /// A server and so many hosts, with the plugin of the scenarios.
    pub(super) async fn new(hosts: usize) -> Self {
        Self::with(hosts, worker).await
    }

    pub(super) async fn with(hosts: usize, plugin: impl Fn(Plugin) -> Plugin) -> Self {
        let nats = Nats::start().await;
        let proxy = Proxy::before(nats.port()).await;
        let mut all = Vec::new();
        for number in 1..=hosts {
            let host = Host::new(&nats)
                .through(&[&proxy])
                .named(&format!("h{number}"));
            all.push(host.plugin("probe", &plugin).run().await);
        }
        assert!(
            proxy.seen().connections > 0,
            "the hosts go around the proxy"
        );
        Self {
            nats,
            proxy,
            hosts: all,
        }
    }

    /// The end of the scenario: nothing is left to do, every item is accounted for, and no host has
    /// ended by itself.
    pub(super) async fn settle(&mut self, load: Load, pace: &Pace) {
        settle(&self.nats, load, pace).await;
        for host in &mut self.hosts {
            assert_eq!(host.exited(), None, "{} runs", host.name());
            let panics = host.logs.find(|line| line.message().contains("panicked"));
            assert!(panics.is_empty(), "{panics:?}");
        }
    }
}

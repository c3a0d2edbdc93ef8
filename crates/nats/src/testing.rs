//! Connections of tests to their servers.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

pub(crate) use mistersmith_testing::{Cluster, DEADLINE, TestServer, by, nats_server, until};

use crate::server::Places;
use crate::{ConnectSpec, Transport};

/// The places in which the host's own server finds its program.
pub(crate) fn places() -> Places {
    Places {
        named: Some(nats_server()),
        ..Places::default()
    }
}

/// How to connect to a server, or to several.
pub(crate) trait Connect {
    fn spec(&self) -> ConnectSpec;

    async fn connect(&self) -> Transport {
        Transport::connect(self.spec()).await.unwrap()
    }
}

impl Connect for TestServer {
    fn spec(&self) -> ConnectSpec {
        to(vec![self.url()])
    }
}

impl Connect for Cluster {
    fn spec(&self) -> ConnectSpec {
        to(self.urls())
    }
}

fn to(servers: Vec<String>) -> ConnectSpec {
    ConnectSpec {
        patience: Some(Duration::from_secs(5)),
        ..ConnectSpec::open(servers, "test")
    }
}

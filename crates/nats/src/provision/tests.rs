//! Plans as pure functions, and provisioning against real servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod cluster;
mod pure;
mod server;

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::assets::desired_with;
use super::{Action, Applied, Asset, Plan, ServerFacts, apply, plan, read};
use crate::testing::{Connect as _, TestServer};
use crate::{Connection, Role, Transport};
use mistersmith_core::config::JetstreamSpec;

/// A server, and one transport to it.
struct Bed {
    server: TestServer,
    transport: Transport,
}

impl Bed {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(config: &str) -> Self {
        let server = TestServer::start_with(config).await;
        let transport = server.connect().await;
        Self { server, transport }
    }

    fn connection(&self) -> &Connection {
        self.transport.connection(Role::Control)
    }

    async fn wanted(&self, spec: &JetstreamSpec) -> (Vec<Asset>, ServerFacts) {
        let facts = ServerFacts::read(&self.transport).await.unwrap();
        (desired_with(spec, &BTreeSet::new(), &facts), facts)
    }

    async fn plan(&self, spec: &JetstreamSpec) -> Plan {
        let (assets, facts) = self.wanted(spec).await;
        let current = read(self.connection(), &assets).await.unwrap();
        plan(assets, &current, &facts)
    }

    async fn provision(&self, spec: &JetstreamSpec) -> Applied {
        let plan = self.plan(spec).await;
        apply(self.connection(), &plan, false).await.unwrap()
    }

    async fn stream(&self, name: &str) -> Value {
        self.connection()
            .call(&format!("STREAM.INFO.{name}"), &json!(null))
            .await
            .unwrap()
    }

    async fn call(&self, call: &str, body: Value) -> Value {
        self.connection().call(call, &body).await.unwrap()
    }
}

fn action<'a>(plan: &'a Plan, name: &str) -> &'a Action {
    let change = plan.changes.iter().find(|change| change.asset.name == name);
    &change.unwrap().action
}

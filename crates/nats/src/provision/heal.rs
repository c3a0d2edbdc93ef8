//! Recreates streams, buckets and object stores that a running host needs and JetStream has lost.
//!
//! Only what does not exist is made; nothing is widened, narrowed or forced, so that a person who
//! changes a stream has the last word. A cluster that has just restarted may report for a moment
//! that a stream does not exist: the caller confirms that before it has anything made.

use std::collections::BTreeSet;

use super::assets::desired_with;
use super::{Action, Asset, Plan, ProvisionError, ServerFacts, apply, plan, read};
use crate::{Role, Transport, TransportError};
use mistersmith_core::config::JetstreamSpec;
use mistersmith_core::limits;
use mistersmith_core::names::Bucket;

/// The needed assets, and the servers that there were when the host started.
#[derive(Debug, Clone)]
pub struct Needs {
    spec: JetstreamSpec,
    /// As they were when the host started: servers that are missing now are no reason for fewer
    /// replicas.
    facts: ServerFacts,
}

/// The result of making missing assets again.
#[derive(Debug, Default)]
pub struct Made {
    /// Assets that were made again: `stream WORK_QUEUE`, `bucket AGENT_STATE`.
    pub names: Vec<String>,
    /// Assets that could not be made, each with its reason.
    pub refused: Vec<String>,
}

impl Needs {
    /// For a host that starts now.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn read(transport: &Transport, spec: &JetstreamSpec) -> Result<Self, TransportError> {
        Ok(Self {
            spec: spec.clone(),
            facts: ServerFacts::read(transport).await?,
        })
    }

    /// The streams that are not there: of the host's own, and of the buckets that plugins are
    /// granted.
    ///
    /// # Errors
    /// The server does not answer.
    pub async fn missing(
        &self,
        transport: &Transport,
        granted: &BTreeSet<Bucket>,
    ) -> Result<BTreeSet<String>, TransportError> {
        let there = transport
            .connection(Role::Control)
            .stream_names(limits::MAX_STREAMS_LOOKED_AT)
            .await?;
        let wanted = desired_with(&self.spec, granted, &self.facts);
        let wanted = wanted.into_iter().map(|asset| asset.stream);
        Ok(wanted.filter(|stream| !there.contains(stream)).collect())
    }

    /// Makes those of these streams that do not exist.
    ///
    /// # Errors
    /// The server does not answer, or has no room.
    pub async fn make_again(
        &self,
        transport: &Transport,
        granted: &BTreeSet<Bucket>,
        streams: &BTreeSet<String>,
    ) -> Result<Made, ProvisionError> {
        let facts = ServerFacts::read(transport).await?.at_least(&self.facts);
        let mut assets = desired_with(&self.spec, granted, &facts);
        assets.retain(|asset| streams.contains(&asset.stream));
        let connection = transport.connection(Role::Control);
        let current = read(connection, &assets).await?;
        let (plan, made) = only_missing(plan(assets, &current, &facts));
        let applied = apply(connection, &plan, false).await?;
        for line in &applied.warnings {
            tracing::warn!("JetStream: {line}");
        }
        Ok(made)
    }

    /// The name of a stream for people: `bucket AGENT_STATE`.
    pub fn title(&self, granted: &BTreeSet<Bucket>, stream: &str) -> String {
        let wanted = desired_with(&self.spec, granted, &self.facts);
        let found = wanted.iter().find(|asset| asset.stream == stream);
        found.map_or_else(|| format!("stream {stream}"), title)
    }
}

/// The streams, buckets and object stores of hosts that this NATS system lacks, for people. None
/// where it has none of them at all: no host was ever here.
///
/// # Errors
/// The server does not answer.
pub async fn absent(transport: &Transport) -> Result<Vec<String>, TransportError> {
    let there = transport
        .connection(Role::Control)
        .stream_names(limits::MAX_STREAMS_LOOKED_AT)
        .await?;
    let (spec, none) = (JetstreamSpec::default(), BTreeSet::new());
    let wanted = desired_with(&spec, &none, &ServerFacts::default());
    let absent = wanted.iter().filter(|asset| !there.contains(&asset.stream));
    let absent: Vec<String> = absent.map(title).collect();
    let all = absent.len() == wanted.len();
    Ok(if all { Vec::new() } else { absent })
}

/// The part of a plan that makes what does not exist, and what stands in the way of the rest.
fn only_missing(mut plan: Plan) -> (Plan, Made) {
    let mut made = Made::default();
    plan.changes.retain(|change| match &change.action {
        Action::Create => {
            made.names.push(title(&change.asset));
            true
        }
        Action::InTheWay { .. } => {
            made.refused.push(change.to_string());
            false
        }
        Action::Same | Action::Update | Action::Drift | Action::Refused { .. } => false,
    });
    (plan, made)
}

fn title(asset: &Asset) -> String {
    format!("{} {}", asset.kind.as_str(), asset.name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{Connect as _, TestServer};

    async fn delete(transport: &Transport, stream: &str) {
        let call = format!("STREAM.DELETE.{stream}");
        let connection = transport.connection(Role::Control);
        connection.call::<Value>(&call, &Value::Null).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_missing_is_made_and_nothing_else_is_touched() {
        let server = TestServer::start().await;
        let transport = server.connect().await;
        let spec = JetstreamSpec::default();
        crate::provision::ensure(&transport, &spec).await.unwrap();
        let needs = Needs::read(&transport, &spec).await.unwrap();
        let granted: BTreeSet<Bucket> = ["CACHE".parse().unwrap()].into();
        let missing = needs.missing(&transport, &granted).await.unwrap();
        assert_eq!(missing, ["KV_CACHE".to_owned()].into(), "not made yet");

        // Somebody keeps results for an hour only: it is their stream.
        let connection = transport.connection(Role::Control);
        let call = "STREAM.INFO.RESULTS";
        let mut results: Value = connection.call(call, &Value::Null).await.unwrap();
        results["config"]["max_age"] = json!(3_600_000_000_000_u64);
        let body = &results["config"];
        connection
            .call::<Value>("STREAM.UPDATE.RESULTS", body)
            .await
            .unwrap();
        for stream in ["WORK_QUEUE", "KV_AGENT_STATE", "OBJ_PAYLOADS"] {
            delete(&transport, stream).await;
        }
        let missing = needs.missing(&transport, &granted).await.unwrap();
        assert_eq!(missing.len(), 4, "{missing:?}");
        let made = needs.make_again(&transport, &granted, &missing).await;
        let mut names = made.unwrap().names;
        names.sort();
        let expected = [
            "bucket AGENT_STATE",
            "bucket CACHE",
            "object store PAYLOADS",
            "stream WORK_QUEUE",
        ];
        assert_eq!(names, expected);
        assert!(
            needs
                .missing(&transport, &granted)
                .await
                .unwrap()
                .is_empty()
        );
        let after: Value = connection.call(call, &Value::Null).await.unwrap();
        assert_eq!(after["config"], results["config"]);
        // Once more, as another host would at the same time.
        let again = needs.make_again(&transport, &granted, &missing).await;
        assert_eq!(again.unwrap().names, Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_stands_in_the_way_is_told_and_stays() {
        let server = TestServer::start().await;
        let transport = server.connect().await;
        let spec = JetstreamSpec::default();
        crate::provision::ensure(&transport, &spec).await.unwrap();
        let needs = Needs::read(&transport, &spec).await.unwrap();
        delete(&transport, "DLQ").await;
        delete(&transport, "AUDIT").await;
        let theirs = json!({ "name": "THEIRS", "subjects": ["dlq.>"] });
        let connection = transport.connection(Role::Control);
        connection
            .call::<Value>("STREAM.CREATE.THEIRS", &theirs)
            .await
            .unwrap();
        let none = BTreeSet::new();
        let missing = needs.missing(&transport, &none).await.unwrap();
        let made = needs.make_again(&transport, &none, &missing).await.unwrap();
        assert_eq!(made.names, ["stream AUDIT"]);
        let refused = made.refused.join("\n");
        assert!(refused.contains("captured by stream `THEIRS`"), "{refused}");
    }
}

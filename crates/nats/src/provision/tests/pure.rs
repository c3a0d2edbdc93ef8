//! Plans as pure functions: the settings that are wanted, the meaning of a difference, the text of
//! a plan.

mod desired;
mod differences;
mod plans;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::super::assets::desired_with;
use super::super::current::Current;
use super::super::fit::fit;
use super::super::{Asset, Cluster, ServerFacts};
use crate::stream::{StreamInfo, StreamState};
use mistersmith_core::config::JetstreamSpec;

fn wanted(spec: &JetstreamSpec, facts: &ServerFacts) -> Vec<Asset> {
    wanted_beside(spec, facts, &Current::default())
}

fn wanted_beside(spec: &JetstreamSpec, facts: &ServerFacts, current: &Current) -> Vec<Asset> {
    let mut assets = desired_with(spec, &BTreeSet::new(), facts);
    fit(&mut assets, facts, current);
    assets
}

fn asset(name: &str) -> Asset {
    let assets = wanted(&JetstreamSpec::default(), &ServerFacts::default());
    assets.into_iter().find(|asset| asset.name == name).unwrap()
}

fn of<'a>(assets: &'a [Asset], name: &str) -> &'a Map<String, Value> {
    &assets
        .iter()
        .find(|asset| asset.name == name)
        .unwrap()
        .config
}

fn cluster(servers: Option<usize>) -> ServerFacts {
    ServerFacts {
        cluster: Some(Cluster {
            name: "C".into(),
            servers,
        }),
        ..ServerFacts::default()
    }
}

/// A stream with these settings that holds something.
fn stream(config: Map<String, Value>, state: StreamState) -> StreamInfo {
    StreamInfo {
        config,
        state,
        ..StreamInfo::default()
    }
}

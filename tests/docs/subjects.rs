//! `docs/reference/subjects-and-streams.md` against the code: streams, subjects, headers, kinds,
//! consumers.

use std::collections::BTreeSet;
use std::time::Duration;

use mistersmith::delivery::reason::ReasonKind;
use mistersmith::events::audit;
use mistersmith::status::StopReason;
use mistersmith_core::config::{JetstreamSpec, STREAMS, TaskFilter, WorkSpec, show_duration};
use mistersmith_core::names::headers::{OF_HOSTS, is_of_hosts};
use mistersmith_core::permissions::reserved::CAPTURED;
use mistersmith_core::permissions::{Access, internal_bucket};
use mistersmith_nats::provision::{Asset, Kind, ServerFacts, consumers, desired};

use crate::check;
use crate::code::product;
use crate::markdown::{Page, names, page};

fn reference() -> Page {
    page("docs/reference/subjects-and-streams.md")
}

fn first_column(heading: &str) -> BTreeSet<String> {
    reference()
        .rows(heading)
        .iter()
        .flat_map(|row| names(&row[0]))
        .collect()
}

fn set<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    texts.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_streams_are_those_of_the_host() {
    assert_eq!(first_column("Streams"), set(STREAMS));
    let rows = reference().rows("Streams");
    let subjects: BTreeSet<String> = rows.iter().flat_map(|row| names(&row[1])).collect();
    assert_eq!(subjects, set(CAPTURED));
}

#[test]
fn what_plugins_may_do_with_the_host_s_buckets_is_as_said() {
    for row in reference().rows("Buckets") {
        let bucket = names(&row[0]).remove(0);
        let said = row.last().unwrap();
        let open = |access| internal_bucket(&bucket, access).is_none();
        let real = match (open(Access::Read), open(Access::Write)) {
            (false, false) => "nothing",
            (true, false) => "read, by grant",
            _ => "anything",
        };
        assert_eq!(said, real, "{bucket}");
    }
}

#[test]
fn headers_are_those_that_are_written() {
    let letters = first_column("Dead letter headers");
    let mut said = first_column("Headers");
    let foreign = [
        "Content-Type",
        "Nats-Msg-Id",
        "Nats-Service-Error",
        "Nats-Service-Error-Code",
    ];
    for name in foreign {
        assert!(said.remove(name), "{name}");
    }
    said.extend(letters);
    assert_eq!(said, set(OF_HOSTS));
}

/// A header that is written and not in the list could be forged by a plugin.
#[test]
fn every_header_that_the_code_names_is_in_the_list() {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, text) in product() {
        let code = text.split("#[cfg(test)]").next().unwrap();
        if file.contains("tests") {
            continue;
        }
        for (at, _) in code.match_indices("\"X-") {
            let name = code[at + 1..].split(['"', ':']).next().unwrap();
            let name = name.trim_end_matches('\\');
            // `"X-"` alone is the beginning of the free ones.
            if name != "X-" && !is_of_hosts(name) {
                found.push(format!("{file}: {name}"));
            }
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
    check(found);
}

#[test]
fn audit_kinds_are_those_that_are_written() {
    let said: BTreeSet<String> = first_column("Audit");
    let kinds = [
        audit::COMMAND,
        audit::REFUSAL,
        audit::PLUGIN,
        audit::CONFIG,
        audit::HEALED,
        "dead-letter",
        "forced",
    ];
    assert_eq!(
        said,
        kinds.iter().map(|kind| format!("audit.{kind}")).collect()
    );
    let sources = product();
    for (file, text) in [
        ("host/src/settle/settler/letters.rs", "\"dead-letter\""),
        ("host/src/cli/audit.rs", "FORCED: &str = \"forced\""),
    ] {
        assert!(sources[file].contains(text), "{file} {text}");
    }
}

#[test]
fn kinds_of_errors_are_those_that_are_told() {
    let real = ReasonKind::all().map(|kind| kind.as_str().to_owned());
    assert_eq!(first_column("Kinds of errors"), real.collect());
}

#[test]
fn reasons_of_an_end_are_those_that_are_given() {
    let real = StopReason::ALL.map(|reason| reason.as_str().to_owned());
    assert_eq!(first_column("Reasons of `stopped`"), real.into());
}

#[test]
fn consumers_have_the_names_that_are_told() {
    let work = WorkSpec {
        domain: "nlp".parse().unwrap(),
        version: None,
        task: TaskFilter::One("sentiment".parse().unwrap()),
        max_deliver: 5,
        backoff: vec![Duration::from_secs(1)],
        schema: None,
    };
    let filled = |text: &str| {
        text.replace("<domain>", "nlp")
            .replace("<task>", "sentiment")
    };
    let rows = reference().rows("Consumers");
    let said: BTreeSet<(String, String)> = rows
        .iter()
        .map(|row| (filled(&names(&row[0])[0]), filled(&names(&row[1])[0])))
        .collect();
    let real: BTreeSet<(String, String)> = consumers::of(&work)
        .into_iter()
        .map(|consumer| (consumer.durable, consumer.filter))
        .collect();
    assert_eq!(said, real);
}

#[test]
fn commands_are_those_that_are_carried_out() {
    let rows = page("docs/patterns/lifecycle.md").rows("Commands");
    let said: BTreeSet<String> = rows.iter().flat_map(|row| names(&row[0])).collect();
    let source = &product()["host/src/fleet/commands.rs"];
    let names = source
        .split("fn name(self)")
        .nth(1)
        .unwrap()
        .split("\n    }\n")
        .next()
        .unwrap();
    let mut real: BTreeSet<String> = names
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    real.insert("execute".to_owned());
    assert_eq!(said, real);
}

/// What a host asks JetStream for, where the server has no limits of its own.
fn assets() -> Vec<Asset> {
    desired(&JetstreamSpec::default(), &[], &ServerFacts::default())
}

fn time(asset: &Asset, field: &str) -> String {
    match asset.config[field].as_u64() {
        None | Some(0) => "none".to_owned(),
        Some(nanos) => show_duration(Duration::from_nanos(nanos)),
    }
}

#[test]
fn streams_and_buckets_are_made_as_told() {
    let streams = reference().rows("Streams");
    for asset in assets().iter().filter(|asset| asset.kind == Kind::Stream) {
        let row = streams.iter().find(|row| names(&row[0])[0] == asset.name);
        let row = row.unwrap_or_else(|| panic!("{} is not in the table", asset.name));
        let subjects: Vec<&str> = asset.config["subjects"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|s| s.as_str())
            .collect();
        assert_eq!(names(&row[1]), subjects, "{}", asset.name);
        assert_eq!(
            row[2],
            asset.config["retention"].as_str().unwrap(),
            "{}",
            asset.name
        );
        assert_eq!(row[3], time(asset, "max_age"), "{}", asset.name);
        assert!(
            row[4].contains(&format!(
                "discard {}",
                asset.config["discard"].as_str().unwrap()
            )),
            "{row:?}"
        );
        let most = asset.config["max_msgs_per_subject"].as_i64().unwrap();
        assert!(
            most < 0 || row[4].contains(&format!("{most} messages per subject")),
            "{row:?}"
        );
        assert_eq!(row[5], time(asset, "duplicate_window"), "{}", asset.name);
        assert_eq!(asset.config["storage"], "file");
    }
    let rows = reference().rows("Buckets");
    let said: BTreeSet<(String, String)> = rows
        .iter()
        .map(|row| (names(&row[0])[0].clone(), row[3].clone()))
        .collect();
    let buckets = assets()
        .into_iter()
        .filter(|asset| asset.kind == Kind::Bucket);
    let real: BTreeSet<(String, String)> = buckets
        .map(|asset| (asset.name.clone(), time(&asset, "max_age")))
        .collect();
    assert_eq!(said, real);
}

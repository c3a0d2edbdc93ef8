//! Fuzzing of what strangers write: files, names, schemas and payloads.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use mistersmith_testing::fuzz;

use crate::config::{
    Candidate, Findings, HostEnv, PolicySpec, Schema, describe, load_host, load_plugin,
};
use crate::names::{
    AgentId, Bucket, ForeignId, HostId, Key, KeyPattern, PluginName, Priority, StageSubject,
    Subject, SubjectPattern, Token, WorkSubject, disturbs, subject,
};
use crate::permissions::reserved::{may_answer, may_reply_to};
use crate::permissions::{Access, PermissionSpec, Permissions, headers::guest_header};

/// Parts of manifests and configurations.
const WORDS: &[&str] = &[
    "\n[plugin]\n",
    "\n[[work]]\n",
    "\n[[subscribe]]\n",
    "\n[permissions]\n",
    "\n[limits]\n",
    "\n[config]\n",
    "\n[election]\n",
    "\n[circuit]\n",
    "\n[[pipeline]]\n",
    "\n[scatter]\n",
    "\n[host]\n",
    "\n[nats]\n",
    "\n[jetstream]\n",
    " = ",
    "\"\"\"",
    "'''",
    "{agent}",
    "{plugin}",
    "[[",
    "]]",
    "{ ",
    " }",
    "true",
    "\"64 MiB\"",
    "\"30s\"",
    "1e400",
    "0x7fff",
    "-inf",
    "nan",
    "1979-05-27T07:32:00Z",
    "\u{feff}",
    "\u{202e}",
    "../../etc/passwd",
    "kv = [",
    "publish = [\">\"]",
];

/// Findings are lines for a terminal, within bounds.
fn readable(findings: &Findings, text: &str) {
    assert!(!findings.is_empty());
    let lines = text.lines().count().max(1);
    for finding in findings.iter() {
        assert!(finding.line <= lines, "{finding}");
        assert!(!finding.problem.is_empty() && !finding.fix.is_empty());
        let shown = finding.to_string();
        assert!(!shown.contains(disturbs), "{shown:?}");
    }
}

#[test]
fn fuzz_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = dir.path().join("sentiment");
    std::fs::create_dir(&plugin).unwrap();
    std::fs::write(plugin.join("sentiment.wasm"), "not looked at").unwrap();
    std::fs::write(plugin.join("task.schema.json"), "{\"type\": \"object\"}").unwrap();
    fuzz("manifest", WORDS, |manifest| {
        std::fs::write(plugin.join("plugin.toml"), manifest).unwrap();
        let candidate = Candidate::in_folder(&plugin).unwrap().unwrap();
        match load_plugin(&candidate, &PolicySpec::default()) {
            Ok(read) => drop(describe(&read).lines()),
            Err(findings) => readable(&findings, &String::from_utf8_lossy(manifest)),
        }
    });
}

#[test]
fn fuzz_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mistersmith.toml");
    fuzz("configuration", WORDS, |text| {
        std::fs::write(&file, text).unwrap();
        if let Err(findings) = load_host(Some(&file), &HostEnv::default()) {
            readable(&findings, &String::from_utf8_lossy(text));
        }
    });
}

/// Parses, shows and parses again.
fn round_trip<T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug>(text: &str) {
    if let Ok(name) = text.parse::<T>() {
        let again = name.to_string().parse::<T>().ok();
        assert_eq!(again, Some(name));
    }
}

/// One text as every kind of name; two texts as a grant and a subject.
#[test]
fn fuzz_names() {
    let words = [
        "*",
        ">",
        ".",
        "..",
        "$JS.API.",
        "_INBOX.",
        "agent.",
        ".cmd.",
        "work.",
        "critical",
        "pipeline.",
        ".01.",
        ".complete",
        "metrics.agent.",
        "{agent}",
        "-001",
        "\u{a0}",
        "\r\n",
        "\0",
    ];
    fuzz("names", &words, |input| {
        let text = String::from_utf8_lossy(input);
        let (grant, name) = text.split_once('\n').unwrap_or(("a.>", &text));
        round_trip::<Subject>(name);
        round_trip::<SubjectPattern>(name);
        round_trip::<AgentId>(name);
        round_trip::<PluginName>(name);
        round_trip::<Bucket>(name);
        round_trip::<Key>(name);
        round_trip::<KeyPattern>(name);
        round_trip::<Token>(name);
        round_trip::<ForeignId>(name);
        round_trip::<HostId>(name);
        let _ = (
            name.parse::<Priority>(),
            name.parse::<WorkSubject>(),
            name.parse::<StageSubject>(),
        );
        let _ = (
            guest_header(name, grant),
            guest_header(grant, name),
            may_answer(name),
        );
        if may_reply_to(name) {
            let closed = ["$", "dlq.", "audit.", "work.", "pipeline.", "election."];
            assert!(
                !closed.iter().any(|start| name.starts_with(start)),
                "{name:?}"
            );
        }
        decided(grant, name);
    });
}

/// An allowed subject lies within the grant, is not reserved, and cannot break a line.
fn decided(grant: &str, name: &str) {
    let grants = vec![grant.to_owned()];
    let spec = PermissionSpec {
        publish: grants.clone(),
        request: grants.clone(),
        subscribe: grants,
        ..PermissionSpec::default()
    };
    let agent: AgentId = "probe-001".parse().unwrap();
    let may = Permissions::compile(&spec, &"probe".parse().unwrap(), &agent);
    let filled = grant
        .replace("{agent}", "probe-001")
        .replace("{plugin}", "probe");
    for allowed in [may.publish(name), may.request(name)] {
        if allowed.is_ok() {
            assert!(subject::matches(&filled, name), "{grant:?} {name:?}");
            assert!(!name.starts_with(['$', '_']), "{name:?}");
            assert!(!name.contains([' ', '\r', '\n', '\0']), "{name:?}");
        }
    }
    if may.subscribe(name, None).is_ok() {
        assert!(subject::covers(&filled, name), "{grant:?} {name:?}");
        let first = name.split('.').next();
        assert!(!matches!(first, Some("*" | ">")), "{name:?}");
        assert!(!name.starts_with(['$', '_']), "{name:?}");
    }
    assert!(may.kv("AGENT_CLAIMS", name, Access::Read).is_err());
    assert!(may.kv(name, "a", Access::Write).is_err());
}

/// A schema, a line with NUL, and a payload.
#[test]
fn fuzz_schema() {
    let words = [
        "\"type\"",
        "\"object\"",
        "\"properties\"",
        "\"pattern\": \"(a+)+$\"",
        "\"$ref\": \"#\"",
        "\"$ref\": \"file:///etc/passwd\"",
        "\"$defs\"",
        "\"allOf\": [",
        "\"not\": {",
        "\"format\"",
        "\"multipleOf\": 1e-300",
        "\"minLength\"",
        "\"uniqueItems\": true",
        "null",
        "1e308",
        "\\u0000",
    ];
    fuzz("schema", &words, |input| {
        let at = input
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(input.len());
        let (schema, payload) = input.split_at(at);
        let Ok(schema) = Schema::compile("a.schema.json".as_ref(), schema) else {
            return;
        };
        if let Err(why) = schema.check(payload.get(1..).unwrap_or_default()) {
            assert!(why.chars().count() <= 330 && !why.contains('\n'), "{why:?}");
        }
    });
}

//! `mistersmith-bench`: every scenario measures something, and nothing that it starts stays behind.
//! What the figures are is no matter here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use harness::{Ran, components, program, signal, until};

/// Runs the benchmark, with a folder for what it makes.
async fn bench(temporary: &Path, args: &[&str]) -> Ran {
    let mut command = tokio::process::Command::new(program("mistersmith-bench"));
    command
        .args(args)
        .current_dir(temporary)
        .env("TMPDIR", temporary)
        .kill_on_drop(true);
    let output = command.output().await.unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Names of the scenarios, as `--list` shows them.
async fn scenarios(folder: &Path) -> Vec<String> {
    let listed = bench(folder, &["--list"]).await.ok();
    let names = listed.stdout.lines().skip(1);
    names
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect()
}

fn spread(value: &Value) {
    let figure = |key: &str| {
        value[key]
            .as_f64()
            .unwrap_or_else(|| panic!("{key}: {value}"))
    };
    assert!(
        figure("min") <= figure("median") && figure("median") <= figure("max"),
        "{value}"
    );
    assert!(value["rounds"].as_u64() >= Some(1), "{value}");
}

/// Measures some scenarios, as shortly as it can be done, and looks at what is told of them.
async fn measure(names: &[&str]) {
    let temporary = tempfile::tempdir().unwrap();
    let plots = tempfile::tempdir().unwrap();
    let plugins = components();
    let plugins = plugins.to_str().unwrap();
    let mut command = vec![
        "--json",
        "--plugins",
        plugins,
        "--rounds",
        "1",
        "--seconds",
        "0.05",
        "--most-agents",
        "3",
        "--plots",
        plots.path().to_str().unwrap(),
    ];
    command.extend(names);
    let ran = bench(temporary.path(), &command).await.ok();
    assert!(ran.stderr.contains("DEBUG"), "{}", ran.stderr);
    let report = ran.json();
    assert_eq!(report["machine"]["profile"], "debug");
    assert_eq!(report["rounds"], 1);
    let told = report["scenarios"].as_array().unwrap();
    assert_eq!(told.len(), names.len());
    for (scenario, name) in told.iter().zip(names) {
        assert_eq!(scenario["name"], *name);
        assert!(scenario["error"].is_null(), "{scenario}");
        let rows = scenario["rows"].as_array().unwrap();
        assert!(!rows.is_empty(), "{scenario}");
        for row in rows {
            spread(&row["product"]);
            if !row["reference"].is_null() {
                spread(&row["reference"]["figures"]);
            }
        }
        let plot = plots.path().join(format!("{name}.svg"));
        let plot = std::fs::read_to_string(plot).unwrap();
        assert!(plot.starts_with("<svg") && plot.contains("<rect"), "{plot}");
    }
    until("all that was started has ended", async || {
        left_behind(temporary.path()).is_empty().then_some(())
    })
    .await;
    let files = std::fs::read_dir(temporary.path()).unwrap();
    assert_eq!(files.count(), 0, "its folder is gone");
}

/// Each scenario belongs to one of these; together they are all.
const IN_PROCESS: [&str; 3] = ["call", "fresh", "permissions"];
const MESSAGES: [&str; 7] = [
    "request", "one-way", "burst", "work", "pipeline", "scatter", "fan-out",
];
const HOSTS: [&str; 5] = ["start", "memory", "neighbours", "growth", "replace"];
const SERVERS: [&str; 2] = ["servers", "scale"];

#[tokio::test]
async fn calls_and_checks_are_measured() {
    measure(&IN_PROCESS).await;
}

#[tokio::test]
async fn messages_are_measured_beside_a_native_handler() {
    measure(&MESSAGES).await;
}

#[tokio::test]
async fn starting_growing_and_replacing_are_measured() {
    measure(&HOSTS).await;
}

#[tokio::test]
async fn servers_are_compared_and_a_fleet_is_measured_on_three() {
    measure(&SERVERS).await;
}

#[tokio::test]
async fn every_scenario_is_tried_here_and_wrong_ones_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tried = [&IN_PROCESS[..], &MESSAGES, &HOSTS, &SERVERS].concat();
    let listed = scenarios(folder.path()).await;
    assert_eq!(
        tried.into_iter().collect::<BTreeSet<_>>(),
        listed.iter().map(String::as_str).collect()
    );
    let wrong = bench(folder.path(), &["speed"]).await;
    assert_eq!(wrong.code, Some(64), "{wrong:#?}");
    assert!(wrong.stderr.contains("request"), "{wrong:#?}");
    let lacks = bench(folder.path(), &["call"]).await;
    assert_eq!(lacks.code, Some(1), "{lacks:#?}");
    assert!(lacks.stderr.contains("make bench"), "{lacks:#?}");
}

/// Processes whose command line or folder lies in a folder.
fn left_behind(folder: &Path) -> BTreeSet<String> {
    let folder = folder.to_str().unwrap();
    let mut found = BTreeSet::new();
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let path = process.path();
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let place = std::fs::read_link(path.join("cwd")).unwrap_or_default();
        if line.contains(folder) || place.starts_with(folder) {
            found.insert(line);
        }
    }
    found
}

/// A benchmark that has started everything is sent a signal; in the end nothing runs.
async fn broken_off_by(name: &str) -> Option<i32> {
    let folder = tempfile::tempdir().unwrap();
    let plugins = components();
    let mut bench = tokio::process::Command::new(program("mistersmith-bench"))
        .args(["request", "--seconds", "60", "--plugins"])
        .arg(plugins)
        .env("TMPDIR", folder.path())
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let children = || left_behind(folder.path());
    until("server, host and native handler run", async || {
        let native = |lines: &BTreeSet<String>| lines.iter().any(|line| line.contains("--native"));
        native(&children()).then_some(())
    })
    .await;
    signal(bench.id().unwrap(), name);
    let ended = bench.wait().await.unwrap();
    until("all of them have ended", async || {
        children().is_empty().then_some(())
    })
    .await;
    ended.code()
}

#[tokio::test]
async fn a_benchmark_that_is_broken_off_ends_what_it_started() {
    assert_eq!(broken_off_by("TERM").await, Some(1));
}

#[tokio::test]
async fn a_benchmark_that_is_killed_leaves_nothing_running() {
    assert_eq!(broken_off_by("KILL").await, None);
}

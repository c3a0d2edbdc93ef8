//! Clocks that jump: leadership is counted by what no operator and no time server can set.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{SUCCESSION, candidates, leader, leader_after};
use harness::{Ear, Host, Nats, Outside, Running, until_in};

/// What Debian's `faketime` brings: it answers for the clock of the wall.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let mut found = folders.map(|folder| {
        let folder = folder.unwrap().path();
        folder.join("faketime/libfaketimeMT.so.1")
    });
    let library = found.find(|library| library.exists());
    library.expect("libfaketime is missing: run scripts/prepare")
}

/// The host's clock of the wall is what the file says: `+3600` is an hour ahead.
async fn jumpy(nats: &Nats, clock: &Path) -> Running {
    Host::new(nats)
        .named("jumpy")
        .plugin("probe", candidates)
        .variable("LD_PRELOAD", library().to_str().unwrap())
        .variable("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .variable("FAKETIME_NO_CACHE", "1")
        .variable("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .run()
        .await
}

/// A heartbeat that was said at a time about `seconds` from now.
async fn heartbeats_at(beats: &Ear, seconds: i64) {
    let ahead = |value: &Value| {
        let at = value["at"].as_str()?;
        let at = time::OffsetDateTime::parse(at, &time::format_description::well_known::Rfc3339);
        Some((at.ok()? - time::OffsetDateTime::now_utc()).whole_seconds() - seconds)
    };
    // Four of them take longer than a lease lives.
    until_in(SUCCESSION, "the leader goes on", async || {
        let told = beats.all();
        let jumped = told.iter().filter(|message| {
            let value = serde_json::from_slice(&message.payload).unwrap();
            ahead(&value).is_some_and(|off| off.abs() < 600)
        });
        (jumped.count() >= 4).then_some(())
    })
    .await;
}

async fn leads(nats: &Outside, agent: &str) -> bool {
    let told = nats.tell(agent, json!({"do": "leadership"})).await;
    told["leading"] == true
}

#[tokio::test]
async fn a_clock_that_jumps_neither_ends_nor_doubles_leadership() {
    let nats = Nats::start().await;
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    std::fs::write(&clock, "+0\n").unwrap();
    let jumpy = jumpy(&nats, &clock).await;
    let (first, term, at) = leader_after(&nats, 0).await;
    assert_eq!(at, jumpy.name());
    let other = super::host(&nats, "steady", 1).await;
    let beats = nats.listen("election.lab.heartbeat").await;
    for seconds in [3600, -7200] {
        let next = folder.path().join("next");
        std::fs::write(&next, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(&next, &clock).unwrap();
        beats.forget();
        heartbeats_at(&beats, seconds).await;
        let now = leader(&nats).await;
        assert_eq!(
            now.map(|leader| (leader.0, leader.1)),
            Some((first.clone(), term))
        );
        assert!(leads(&nats, &first).await, "{seconds}");
        assert!(!leads(&nats, "probe-002").await, "{seconds}");
    }
    // And the steady one takes over when the other is gone, in a later term.
    drop(jumpy);
    let (second, next, _) = leader_after(&nats, term).await;
    assert_eq!(second, "probe-002");
    assert!(next > term);
    assert!(
        other
            .logs
            .find(|line| line.message().contains("cannot renew"))
            .is_empty()
    );
}

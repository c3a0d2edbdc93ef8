//! Branches that run in parallel, and the stage that joins them.

use serde_json::json;

use crate::large_payloads::{claimed, objects_for};
use harness::{Host, Nats, Plugin, until};

use super::{events, put, result_of, stage, stage_doing, stage_is_done, told};

/// `join = ["a", "b"]`, with further lines.
fn joining(lines: &str) -> Plugin {
    stage("both", &format!("join = [\"a\", \"b\"]\n{lines}"))
}

#[tokio::test]
async fn branches_are_joined() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(stage("split", "next = [\"a\", \"b\"]"))
        .with(stage_doing(
            "a",
            "next = [\"both\"]",
            "{ do = \"echo\", value = 7 }",
        ))
        .with(stage_doing(
            "b",
            "next = [\"both\"]",
            "{ do = \"reply\", payload = \"12\", content_type = \"text/plain\" }",
        ))
        .with(joining("next = [\"last\"]"))
        .with(stage("last", ""))
        .run()
        .await;
    put(&nats, "pipeline.w.01.split", &[], "x").await;
    let result = result_of(&nats, "w").await.json();
    assert_eq!(result["n"], 4);
    let joined = &result["input"];
    assert_eq!(
        (&joined["stage"], &joined["n"]),
        (&json!("both"), &json!(3))
    );
    assert_eq!(joined["input"], json!({"a": 7, "b": "12"}));
    for name in ["a", "b", "both", "last"] {
        stage_is_done(&nats, name).await;
    }
    let names: Vec<String> = events(&nats, "w")
        .await
        .into_iter()
        .map(|(n, _)| n)
        .collect();
    assert_eq!(names.iter().filter(|name| *name == "complete").count(), 5);
    assert!(!names.iter().any(|name| name == "late" || name == "error"));
    let record = nats.kv_json("PIPELINES", "w.both").await.unwrap();
    assert_eq!(record["closed"]["how"], "complete");
    assert_eq!(record["branches"]["a"]["n"], 3);
}

#[tokio::test]
async fn a_second_message_of_a_branch_is_dropped_and_a_forged_one_is_dead_lettered() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats).with(joining("")).run().await;
    let input = "pipeline.w.02.both";
    put(&nats, input, &[("X-Stage", "a")], "first").await;
    put(&nats, input, &[("X-Stage", "a")], "second").await;
    for (headers, problem) in [
        (vec![("X-Stage", "c")], "header X-Stage names \"c\""),
        (vec![], "header X-Stage is missing"),
        (vec![("X-Join", "now")], "header X-Join is \"now\""),
    ] {
        let before = nats.stored("DLQ", "dlq.>").await.len();
        put(&nats, input, &headers, "x").await;
        let letter = nats.dead_letters(input, before + 1).await.pop().unwrap();
        let error = letter.header("X-DLQ-Error");
        assert!(error.contains(problem), "{error}");
    }
    // A deadline that is not due means nothing.
    put(&nats, input, &[("X-Join", "deadline")], "").await;
    stage_is_done(&nats, "both").await;
    assert!(
        events(&nats, "w").await.is_empty(),
        "nothing ran, nothing failed"
    );
    put(&nats, "pipeline.w.05.both", &[("X-Stage", "b")], "third").await;
    let result = result_of(&nats, "w").await.json();
    assert_eq!(result["input"], json!({"a": "first", "b": "third"}));
    assert_eq!(result["n"], 5, "as far as the branch that came farthest");
    put(&nats, input, &[("X-Stage", "b")], "fourth").await;
    stage_is_done(&nats, "both").await;
    let all = nats.stored("COORDINATION", "pipeline.w.complete").await;
    assert_eq!(all.len(), 1);
}

#[tokio::test]
async fn a_stage_goes_on_without_a_missing_branch_or_fails() {
    let nats = Nats::start().await;
    let _host = Host::new(&nats)
        .with(joining("join_timeout = \"1s\"\nmissing = \"continue\""))
        .with(stage(
            "strict",
            "join = [\"a\", \"b\", \"c\"]\njoin_timeout = \"1s\"",
        ))
        .run()
        .await;
    put(&nats, "pipeline.w.02.both", &[("X-Stage", "b")], "here").await;
    put(&nats, "pipeline.v.02.strict", &[("X-Stage", "b")], "here").await;
    let result = result_of(&nats, "w").await;
    assert_eq!(result.json()["input"], json!({"b": "here"}));
    assert_eq!(result.header("X-Request-ID"), "w");
    put(&nats, "pipeline.w.02.both", &[("X-Stage", "a")], "late").await;
    let late = told(&nats, "w", "late", 1).await.remove(0);
    assert_eq!(
        (&late["stage"], &late["branch"]),
        (&json!("both"), &json!("a"))
    );
    stage_is_done(&nats, "both").await;
    let all = nats.stored("COORDINATION", "pipeline.w.complete").await;
    assert_eq!(all.len(), 1);

    let error = told(&nats, "v", "error", 1).await.remove(0);
    assert_eq!(error["kind"], "join");
    assert_eq!(
        error["error"],
        "no output of a, c came within 1s of the first branch"
    );
    let letter = nats.dead_letters("pipeline.v.02.strict", 1).await.remove(0);
    assert_eq!(letter.json(), json!({"b": "here"}), "what there was");
    stage_is_done(&nats, "strict").await;
    let record = nats.kv_json("PIPELINES", "v.strict").await.unwrap();
    assert_eq!(record["closed"]["how"], "failed");
}

#[tokio::test]
async fn the_letter_of_a_join_that_is_sent_again_waits_for_what_was_missing() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .with(joining("join_timeout = \"1s\""))
        .run()
        .await;
    put(&nats, "pipeline.w.02.both", &[("X-Stage", "a")], "here").await;
    told(&nats, "w", "error", 1).await;
    let letter = nats.dead_letters("pipeline.w.02.both", 1).await.remove(0);
    assert_eq!(letter.header("X-Join"), "incomplete");
    // Nobody knows of the join any more, as after two days.
    nats.js
        .get_key_value("PIPELINES")
        .await
        .unwrap()
        .purge("w.both")
        .await
        .unwrap();
    let ran = host.cli(&["dlq", "replay", "--all"]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Without the branch it fails again.
    let letter = until("it is given up again", async || {
        let letters = nats.stored("DLQ", "dlq.>").await;
        letters
            .into_iter()
            .find(|again| again.sequence > letter.sequence)
    })
    .await;
    assert_eq!(letter.json(), json!({"a": "here"}));
    let complete = nats.stored("COORDINATION", "pipeline.w.complete").await;
    assert!(complete.is_empty(), "a result without a branch");
    host.cli(&["dlq", "replay", "--all"]).await.ok();
    put(&nats, "pipeline.w.02.both", &[("X-Stage", "b")], "late").await;
    let result = result_of(&nats, "w").await;
    assert_eq!(result.json()["input"], json!({"a": "here", "b": "late"}));
    stage_is_done(&nats, "both").await;
}

#[tokio::test]
async fn a_join_fails_with_its_branch_and_goes_on_when_that_is_sent_again() {
    let nats = Nats::start().await;
    let failing = |command: &str| {
        let lines = "next = [\"longer\"]";
        stage_doing("a", lines, command)
    };
    let host = Host::new(&nats)
        .with(stage("split", "next = [\"a\", \"b\"]"))
        .with(failing("{ do = \"fail_reject\", message = \"no\" }"))
        .with(stage("longer", "next = [\"both\"]"))
        .with(stage_doing(
            "b",
            "next = [\"both\"]",
            "{ do = \"echo\", value = 2 }",
        ))
        .with(stage(
            "both",
            "join = [\"longer\", \"b\"]\njoin_timeout = \"1h\"\nnext = [\"last\"]",
        ))
        .with(stage("last", ""))
        .run()
        .await;
    put(&nats, "pipeline.w.01.split", &[], "x").await;
    // Long before its timeout: two stages behind the one that failed.
    let errors = told(&nats, "w", "error", 2).await;
    assert_eq!(errors[0]["kind"], "rejected");
    assert_eq!(errors[1]["kind"], "join");
    let text = errors[1]["error"].as_str().unwrap();
    assert!(
        text.contains("longer has failed for good (rejected: no"),
        "{text}"
    );
    let letters = nats.stored("DLQ", "dlq.>").await;
    let (branch, join) = (&letters[0], &letters[1]);
    assert_eq!(branch.header("X-DLQ-Subject"), "pipeline.w.02.a");
    assert_eq!(join.json(), json!({"b": 2}));

    // Mended, and sent again.
    let mended = failing("{ do = \"echo\", value = 1 }").version("0.2.0");
    host.drop_in(&mended);
    nats.audited("plugin", |entry| entry["version"] == "0.2.0")
        .await;
    host.cli(&["dlq", "replay", &branch.sequence.to_string()])
        .await
        .ok();
    let result = result_of(&nats, "w").await.json();
    assert_eq!(result["input"]["input"]["b"], 2);
    assert_eq!(result["input"]["input"]["longer"]["input"], 1);
    // The letter of the join has nothing to say any more.
    host.cli(&["dlq", "replay", "--all"]).await.ok();
    for name in ["a", "longer", "both", "last"] {
        stage_is_done(&nats, name).await;
    }
    let all = nats.stored("COORDINATION", "pipeline.w.complete").await;
    assert_eq!(all.len(), 1, "it ran once");
}

#[tokio::test]
async fn a_deadline_that_passed_while_no_host_ran_is_kept() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .with(joining("join_timeout = \"1s\"\nmissing = \"continue\""))
        .run()
        .await;
    put(&nats, "pipeline.w.02.both", &[("X-Stage", "a")], "here").await;
    until("the branch is counted", async || {
        nats.kv_json("PIPELINES", "w.both").await
    })
    .await;
    host.kill();
    host.start();
    host.wait_ready().await;
    assert_eq!(
        result_of(&nats, "w").await.json()["input"],
        json!({"a": "here"})
    );
}

#[tokio::test]
async fn large_payloads_go_through_the_object_store() {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .config("[jetstream]\nclaim_over = \"1KiB\"")
        .with(stage("split", "next = [\"a\", \"b\"]"))
        .with(stage_doing("a", "next = [\"both\"]", "{ do = \"stage\" }"))
        .with(stage_doing(
            "b",
            "next = [\"both\"]",
            "{ do = \"big_reply\", bytes = 3000 }",
        ))
        .with(joining("next = [\"last\"]"))
        .with(stage("last", ""))
        .run()
        .await;
    let text = "y".repeat(5000);
    let ran = host.cli(&["publish", "pipeline.w.01.split", &text]).await;
    assert!(ran.stdout.contains("stored by COORDINATION"), "{ran:?}");
    let result = claimed(&nats, &result_of(&nats, "w").await).await;
    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
    let joined = &result["input"]["input"];
    assert_eq!(joined["b"], "x".repeat(3000));
    assert_eq!(joined["a"]["input"]["input"], text);
    for name in ["split", "last"] {
        stage_is_done(&nats, name).await;
    }
    // What one stage alone has is removed, what a join has read is swept.
    until("it is removed", async || {
        let inputs = ["pipeline.w.01.split", "pipeline.w.04.last"];
        for input in inputs {
            if !objects_for(&nats, input).await.is_empty() {
                return None;
            }
        }
        Some(())
    })
    .await;
    assert!(nats.stored("DLQ", "dlq.>").await.is_empty());
}

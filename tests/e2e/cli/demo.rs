//! `demo`, as a script calls it: no terminal, no person.

use harness::{Host, Plugin, nats_server};

/// What it needs.
const PLUGINS: [&str; 10] = [
    "analyze",
    "coordinator",
    "extract",
    "librarian",
    "preprocess",
    "reporter",
    "researcher",
    "sentiment",
    "summarize",
    "word-count",
];

#[tokio::test]
async fn the_demonstration_does_real_work_and_tells_of_it() {
    let texts = [
        (
            "good.txt",
            "A wonderful day it was, and I am very happy with all of it, and so is everybody here.\n\n\
             This is not bad at all, I would say, although some of us had expected quite a lot more.\n",
        ),
        (
            "bad.txt",
            "A terrible, horrible failure from the beginning to the very end, and nobody is sorry.\n\n\
             It rains, and the rain is as wet as rain has always been wherever it has ever rained.\n",
        ),
    ];
    let mut host = Host::alone();
    for plugin in PLUGINS {
        host = host.with(Plugin::shipped(plugin));
    }
    for (name, text) in texts {
        host = host.file(name, text);
    }
    let host = host.written();
    let ran = host.cli(&["demo", "good.txt", "bad.txt"]).await.ok();
    let program = format!("({})", nats_server().display());
    for word in [
        "its own nats-server",
        &program,
        // The workflow: what came of it, and how.
        "\nThe report\n  bad.txt: ",
        "about: ",
        "so say librarian-00",
        ".01.extract",
        ".04.summarize",
        "stage complete",
        "workflow complete",
        "gather.",
        "agent.coordinator-001.resp.",
        // The load of each, the priorities, what failed, who led.
        "sentiment-00",
        "word-count-00",
        "summarize-00",
        "librarian-003",
        "critical",
        "low",
        "dlq.work.nlp.normal.sentiment",
        "reports  reporter-00",
        "the host has drained and stopped",
        "8 results and 1 dead letter",
        "mistersmith run",
    ] {
        assert!(
            ran.stdout.contains(word),
            "no {word:?} in\n{}\n{}",
            ran.stdout,
            ran.stderr
        );
    }
    assert!(
        !ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}'),
        "no colours without a terminal"
    );
    assert!(host.own_server().is_none(), "it took its server along");

    // What it lacks, it says.
    let empty = Host::alone().written();
    let lacks = empty.cli(&["demo"]).await;
    assert_eq!(lacks.code, Some(1), "{lacks:#?}");
    assert!(lacks.stderr.contains("mistersmith build"), "{lacks:#?}");
    let nothing = host.cli(&["demo", "nowhere"]).await;
    assert_eq!(nothing.code, Some(1), "{nothing:#?}");
}

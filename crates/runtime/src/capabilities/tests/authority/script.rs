//! Fuzzing of the host functions: a line of grants, and a line for each call.

use super::call::Call;
use super::*;
use mistersmith_core::names::Bucket;
use mistersmith_testing::fuzz;

/// A call as a line; the first word names the function. Of what is no call, a publish.
fn call(line: &str) -> Call<'_> {
    let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (one, other) = rest.split_once(' ').unwrap_or((rest, ""));
    match name {
        "stored" => Call::PublishStored(rest),
        "request" => Call::Request(rest),
        "subscribe" => Call::Subscribe(rest),
        "shared" => Call::SubscribeIn(one, other),
        "get" => Call::Get(one, other),
        "put" => Call::Put(one, other),
        "create" => Call::Create(one, other),
        "update" => Call::Update(one, other),
        "delete" => Call::Delete(one, other),
        "keys" => Call::Keys(one, other),
        "scatter" => Call::ScatterWith(one, other),
        "start" => Call::StartPipeline(one, other),
        "new" => Call::StartNewPipeline(rest),
        "result" => Call::PipelineResult(rest),
        "signal" => Call::Signal(one, other),
        "await" => Call::AwaitEvent(one, other),
        "watch" => Call::Watch(rest),
        "circuit" => Call::Circuit(rest),
        "header" => Call::PublishWith(one, other),
        _ => Call::Publish(rest),
    }
}

/// The grants of a line that can be such, the others left out.
fn grants(line: &str) -> String {
    let possible = |grant: &&str| {
        let words: Vec<&str> = grant.split(' ').collect();
        match words.as_slice() {
            ["publish" | "request" | "subscribe" | "deny", _] => true,
            ["kv", bucket, _, "read" | "write" | "read-write"] => Bucket::check(bucket).is_ok(),
            _ => false,
        }
    };
    line.split("; ")
        .filter(possible)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Whatever is called with whatever grants: nothing panics, nothing is sent without a connection,
/// and no reserved bucket or subject is opened.
#[test]
fn fuzz_host_functions() {
    let words = [
        "publish ",
        "request ",
        "subscribe ",
        "kv ",
        "deny ",
        "; ",
        "\n",
        " read-write",
        "get ",
        "put ",
        "keys ",
        "start ",
        "signal ",
        "circuit ",
        "header ",
        "shared ",
        "$JS.API.",
        "_INBOX.",
        "{agent}",
        "AGENT_CLAIMS ",
        "work.",
        "*",
        ">",
        ".",
        "\r\n",
        "\0",
        "\u{2028}",
    ];
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    fuzz("host_functions", &words, |input| {
        let text = String::from_utf8_lossy(input);
        let (first, calls) = text.split_once('\n').unwrap_or(("", &text));
        let built = granted(&grants(first));
        let mut guest = calling(&built);
        for line in calls.split('\n').take(50) {
            let call = call(line);
            let ended = tokio.block_on(call.make(&mut guest));
            let known = [
                "denied",
                "invalid",
                "too-large",
                "unavailable",
                "not-found",
                "rate-limited",
            ];
            // The fixture knows one circuit, which needs no grant.
            let own = matches!(call, Call::Circuit("own")) && ended == "ok";
            assert!(own || known.contains(&ended), "{call:?}: {ended}");
            let closed = match call {
                Call::Publish(subject) | Call::Request(subject) => subject.starts_with(['$', '_']),
                Call::Get(bucket, _) => bucket == "AGENT_CLAIMS",
                _ => false,
            };
            assert!(!closed || ended != "unavailable", "{call:?}");
        }
        assert_eq!(built.counts().sent, 0);
    });
}

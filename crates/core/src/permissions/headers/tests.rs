//! Headers that an agent may set, and those that would act or lie.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use super::*;

#[test]
fn free_names() {
    for name in [
        "Content-Type",
        "content-type",
        "X-Language",
        "x-a",
        "X-Agent",
        "X-Agent-Id2",
        "X-Nats-Msg-Id",
    ] {
        guest_header(name, "text/plain; charset=utf-8 ä").unwrap();
    }
}

#[test]
fn every_header_of_the_host_is_refused_however_it_is_written() {
    use crate::names::headers::OF_HOSTS;
    for name in OF_HOSTS {
        for written in [
            name.to_owned(),
            name.to_ascii_lowercase(),
            name.to_ascii_uppercase(),
            name.replace('-', "_"),
        ] {
            let refusal = guest_header(&written, "1").unwrap_err();
            let Refusal::Invalid(text) = refusal else {
                panic!("{written}: {refusal:?}")
            };
            assert!(text.ends_with("is set by the host alone"), "{text}");
        }
    }
}

#[test]
fn names_of_the_host_and_of_nats() {
    for name in [
        "X-Agent-ID",
        "x-agent-id",
        "X_Agent_ID",
        "X-Request-ID",
        "X-Trace-ID",
        "X-Span-ID",
        "X-Priority",
        "X-Retry-Count",
        "X-Claim",
        "X-Timeout-Ms",
        "x_timeout_ms",
        "traceparent",
        "Traceparent",
        "tracestate",
        "Nats-Msg-Id",
        "nats-rollup",
        "Nats-Expected-Stream",
        "Nats-TTL",
        "Nats-Service-Error",
        "KV-Operation",
        "kv-operation",
        "Status",
        "Description",
        "Reply-To",
        "X-",
        "X",
        "",
        "Content-Length",
        "Authorization",
    ] {
        assert!(
            matches!(guest_header(name, "v"), Err(Refusal::Invalid(_))),
            "{name}"
        );
    }
}

#[test]
fn smuggling() {
    for name in [
        "X-A: b\r\nNats-Rollup",
        "X-A\r\n",
        "X-A:",
        "X A",
        "X-A\0",
        "X-ä",
        "\u{feff}X-A",
        " X-A",
    ] {
        assert!(guest_header(name, "v").is_err(), "{name:?}");
    }
    for value in [
        "a\r\nNats-Rollup: all",
        "a\n",
        "a\r",
        "a\0",
        "\u{7f}",
        "a\tb",
        "\u{85}",
    ] {
        assert!(guest_header("X-A", value).is_err(), "{value:?}");
    }
}

#[test]
fn count_and_bytes_are_bounded() {
    let many = |n| std::iter::repeat_n(("X-A", "v"), n);
    guest_headers(many(64)).unwrap();
    assert!(matches!(guest_headers(many(65)), Err(Refusal::TooLarge(_))));
    let long = "v".repeat(16 * 1024 - 3);
    guest_headers([("X-A", long.as_str())]).unwrap();
    assert!(matches!(
        guest_headers([("X-A", long.as_str()), ("X-A", "")]),
        Err(Refusal::TooLarge(_))
    ));
    assert!(matches!(
        guest_header("X-AB", &long),
        Err(Refusal::TooLarge(_))
    ));
}

#[test]
fn the_sentences() {
    assert_eq!(
        guest_header("Nats-Rollup", "all").unwrap_err().to_string(),
        r#"header "Nats-Rollup" cannot be set by an agent: only Content-Type and names that begin with "X-" can"#
    );
    assert_eq!(
        guest_header("X-Agent-ID", "me").unwrap_err().to_string(),
        r#"header "X-Agent-ID" is set by the host alone"#
    );
}

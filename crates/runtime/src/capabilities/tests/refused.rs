//! One refusal for each function, without a server: permission before limit before connection.

use super::*;
use crate::bindings::mistersmith::agent::{context, kv, messaging};
use context::Host as _;
use kv::Host as _;
use messaging::Host as _;
use mistersmith_core::limits::PluginLimits;

fn s(text: &str) -> String {
    text.to_owned()
}

#[tokio::test]
async fn nothing_is_allowed_that_is_not_granted() {
    let built = Fixture::new().build();
    let mut guest = calling(&built);
    let none = Vec::new;
    let outcomes = [
        outcome(&guest.publish(s("out.a"), none(), none_headers()).await),
        outcome(
            &guest
                .publish_stored(s("out.a"), none(), none_headers())
                .await,
        ),
        outcome(
            &guest
                .request(s("tools.a"), none(), none_headers(), None)
                .await,
        ),
        outcome(&guest.subscribe(s("in.a"), None).await),
        outcome(&guest.get(s("CACHE"), s("probe.a")).await),
        outcome(&guest.put(s("CACHE"), s("probe.a"), none()).await),
        outcome(&guest.create(s("CACHE"), s("probe.a"), none()).await),
        outcome(&guest.update(s("CACHE"), s("probe.a"), none(), 1).await),
        outcome(&guest.delete(s("CACHE"), s("probe.a"), None).await),
        outcome(&guest.keys(s("CACHE"), s("probe.>")).await),
    ];
    assert_eq!(outcomes, ["denied"; 10]);
    assert_eq!(built.counts().refused, 10);
    assert_eq!(
        outcome(&messaging::Host::unsubscribe(&mut guest, 1)),
        "not-found"
    );
}

fn none_headers() -> Vec<(String, String)> {
    Vec::new()
}

#[tokio::test]
async fn a_refusal_names_the_line_to_add_and_is_reported() {
    let built = Fixture::new().build();
    let mut guest = calling(&built);
    let refused = guest
        .publish(s("orders.paid"), Vec::new(), Vec::new())
        .await;
    let sentence = "agent `probe-001` cannot publish to `orders.paid`: no grant matches; \
                    add \"orders.paid\" to [permissions] publish in plugins/probe/plugin.toml";
    assert!(matches!(refused, Err(Error::Denied(text)) if text == sentence));
    let report = built.last_refusal();
    assert_eq!(
        (report.action, report.reason.as_str()),
        ("publish", sentence)
    );
    assert_eq!(
        (report.agent.as_str(), report.plugin.as_str()),
        ("probe-001", "probe")
    );
}

#[tokio::test]
async fn a_flood_of_refusals_is_counted_and_barely_reported() {
    let built = Fixture::new().build();
    let mut guest = calling(&built);
    for _ in 0..10_000 {
        let _ = guest.publish(s("out.a"), Vec::new(), Vec::new()).await;
    }
    assert_eq!(built.counts().refused, 10_000);
    assert!(built.refused.lock().unwrap().len() < 500);
}

#[tokio::test]
async fn without_a_connection_everything_granted_is_unavailable() {
    let built = Fixture::granted().build();
    let mut guest = calling(&built);
    let outcomes = [
        outcome(&guest.publish(s("out.a"), Vec::new(), Vec::new()).await),
        outcome(
            &guest
                .publish_stored(s("out.a"), Vec::new(), Vec::new())
                .await,
        ),
        outcome(
            &guest
                .request(s("tools.a"), Vec::new(), Vec::new(), None)
                .await,
        ),
        outcome(&guest.subscribe(s("in.a"), None).await),
        outcome(&guest.get(s("CACHE"), s("probe.a")).await),
        outcome(&guest.put(s("CACHE"), s("probe.a"), Vec::new()).await),
        outcome(&guest.create(s("CACHE"), s("probe.a"), Vec::new()).await),
        outcome(&guest.update(s("CACHE"), s("probe.a"), Vec::new(), 1).await),
        outcome(&guest.delete(s("CACHE"), s("probe.a"), None).await),
        outcome(&guest.keys(s("CACHE"), s("probe.>")).await),
    ];
    assert_eq!(outcomes, ["unavailable"; 10]);
    assert_eq!(built.counts().sent, 0);
}

#[tokio::test]
async fn sizes_are_refused_before_anything_is_sent() {
    let limits = |fixture: &mut Fixture| fixture.limits.payload = 1000;
    let built = Fixture::granted().with(limits).build();
    let mut guest = calling(&built);
    let large = || vec![0; 1001];
    let many = || {
        (0..65)
            .map(|n| (format!("X-{n}"), s("v")))
            .collect::<Vec<_>>()
    };
    let long = || vec![(s("X-A"), "v".repeat(20_000))];
    let outcomes = [
        outcome(&guest.publish(s("out.a"), large(), Vec::new()).await),
        outcome(&guest.publish_stored(s("out.a"), large(), Vec::new()).await),
        outcome(&guest.request(s("tools.a"), large(), Vec::new(), None).await),
        outcome(&guest.put(s("CACHE"), s("probe.a"), large()).await),
        outcome(&guest.create(s("CACHE"), s("probe.a"), large()).await),
        outcome(&guest.update(s("CACHE"), s("probe.a"), large(), 1).await),
        outcome(&guest.publish(s("out.a"), Vec::new(), many()).await),
        outcome(&guest.publish(s("out.a"), Vec::new(), long()).await),
    ];
    assert_eq!(outcomes, ["too-large"; 8]);
    assert_eq!(built.counts().limited, 8);
}

#[tokio::test]
async fn a_secret_that_is_denied_stays_denied() {
    let built = Fixture::granted().build();
    let mut guest = calling(&built);
    assert_eq!(
        outcome(&guest.publish(s("out.secret"), Vec::new(), Vec::new()).await),
        "denied"
    );
    assert_eq!(
        outcome(&guest.subscribe(s("in.a.secret"), None).await),
        "denied"
    );
    assert_eq!(outcome(&guest.subscribe(s(">"), None).await), "denied");
}

#[tokio::test]
async fn what_the_host_says_itself_is_never_granted() {
    let all = |fixture: &mut Fixture| fixture.grants.publish = vec![s(">"), s("*.>")];
    let built = Fixture::new().with(all).build();
    let mut guest = calling(&built);
    let subjects = [
        "agent.probe-002.ready",
        "agent.probe-002.cmd.shutdown",
        "agent.probe-002.resp.r",
        "dlq.work.nlp.x",
        "audit.refused",
        "election.nlp.leader",
        "$JS.API.STREAM.DELETE.WORK_QUEUE",
        "$KV.AGENT_CLAIMS.probe-001",
        "_INBOX.x.y",
        "broadcast.emergency.shutdown",
    ];
    for subject in subjects {
        assert_eq!(
            outcome(&guest.publish(s(subject), Vec::new(), Vec::new()).await),
            "denied",
            "{subject}"
        );
    }
    assert_eq!(
        outcome(&guest.publish(s("free.a"), Vec::new(), Vec::new()).await),
        "unavailable"
    );
}

#[tokio::test]
async fn the_context_says_who_and_what() {
    let config = |fixture: &mut Fixture| {
        fixture.config.insert(s("language"), "en".into());
    };
    let built = Fixture::new().with(config).build();
    let mut guest = calling(&built);
    assert_eq!(guest.agent_id(), "probe-001");
    assert_eq!((guest.plugin(), guest.version()), (s("probe"), s("1.2.3")));
    assert_eq!(guest.config(), "{\"language\":\"en\"}");
    assert_eq!(guest.config_value(s("language")), Some(s("\"en\"")));
    assert_eq!(guest.config_value(s("missing")), None);
    built.context.config.replace(Arc::default());
    assert_eq!(guest.config(), "{}");
    assert_eq!((guest.request_id(), guest.trace_id()), (s(""), s("")));
    assert_eq!(guest.headers(0), Vec::new());
    assert_eq!(guest.headers(u32::MAX), Vec::new());
    assert_eq!(guest.header_value(1, s("X-A")), None);
    let left = guest.remaining_ms();
    assert!((1..=5000).contains(&left), "{left}");
    assert!(u128::from(left) <= PluginLimits::default().timeout.as_millis());
}

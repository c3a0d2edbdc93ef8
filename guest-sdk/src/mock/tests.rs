//! The bus seen from a plugin's tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::agent::{Event, Health};
use crate::kv::Bucket;
use crate::message::{Message, Question, Stage, Work};
use crate::{context, json, log, messaging};

/// Counts what it is told, and tells it.
struct Counter(u32);

impl Agent for Counter {
    fn start() -> Result<Self> {
        let start: Option<u32> = context::config_value("start")?;
        Ok(Self(start.unwrap_or(0)))
    }
    fn execute(&mut self, message: &Message) -> Result<Reply> {
        self.0 += message.json::<u32>()?;
        Ok(json!([self.0, message.subject()]).into())
    }
    fn work(&mut self, item: &Work) -> Result<Reply> {
        Ok(json!([item.retries(), context::request_id(), item.is_json()]).into())
    }
    fn stage(&mut self, input: &Stage) -> Result<Reply> {
        Ok(json!([input.number(), input.retries()]).into())
    }
    fn scatter(&mut self, question: &Question) -> Result<Reply> {
        Ok(json!([question.request(), question.subject()]).into())
    }
    fn message(&mut self, message: &Message) -> Result<Reply> {
        Ok(json!([message.header("X-N"), message.wants_reply()]).into())
    }
    fn other(&mut self, kind: &str, message: &Message) -> Result<Reply> {
        Ok(json!([kind, message.subject()]).into())
    }
    fn configuration(&mut self) -> Result<()> {
        *self = Self::start()?;
        Ok(())
    }
    fn coordination(&mut self, event: &Event) -> Result<()> {
        self.0 = event.json()?;
        Ok(())
    }
    fn leadership(&mut self, change: &crate::Leadership) -> Result<()> {
        self.0 = u32::try_from(change.term)?;
        Ok(())
    }
    fn notice(&mut self, name: &str, json: &str) -> Result<()> {
        Err(crate::Error::other(format_args!("{name} {json}")))
    }
    fn health(&mut self) -> Health {
        Health::ok().with_detail(self.0.to_string())
    }
    fn stop(&mut self, reason: &str) -> Result<()> {
        log::info!("stopped: {reason}");
        Ok(())
    }
}

#[test]
fn every_kind_of_delivery() {
    let mut agent = Bus::new().start::<Counter>().unwrap();
    let told = |answer: Result<Reply>| answer.unwrap().to_value();
    assert_eq!(
        told(agent.execute("2")),
        json!([2, "agent.mock-001.cmd.execute"])
    );
    assert!(agent.execute("x").unwrap_err().is_reject());
    assert_eq!(
        told(agent.work("work.a.high.b", json!({}))),
        json!([0, "wq-3", true])
    );
    let tried = Delivery::work("work.a.b", "text")
        .retries(4)
        .request_id("mine");
    assert_eq!(told(agent.deliver(tried)), json!([4, "mine", false]));
    assert_eq!(told(agent.stage("pipeline.w.02.s", "")), json!([2, 0]));
    let tried = Delivery::stage("pipeline.w.03.s", "").retries(1);
    assert_eq!(told(agent.deliver(tried)), json!([3, 1]));
    assert_eq!(told(agent.scatter("r", "")), json!(["r", "scatter.r.task"]));
    assert_eq!(told(agent.message("a.b", "")), json!([null, true]));
    let quiet = Delivery::message("a.b", "").wants_reply(false);
    assert_eq!(told(agent.deliver(quiet)), json!([null, false]));
    let other = Delivery::other("tide", "x", "");
    assert_eq!(told(agent.deliver(other)), json!(["tide", "x"]));
    assert!(agent.work("no.work", "").unwrap_err().is_reject());
}

#[test]
fn a_batch_keeps_each_ones_headers() {
    let mut agent = Bus::new().start::<Counter>().unwrap();
    let batch = (1..=3)
        .map(|n| Delivery::message("a", "").header("X-N", n.to_string()))
        .collect();
    let told: Vec<Value> = agent
        .batch(batch)
        .into_iter()
        .map(|answer| answer.unwrap().to_value())
        .collect();
    assert_eq!(
        told,
        [json!(["1", true]), json!(["2", true]), json!(["3", true])]
    );
}

#[test]
fn news_health_and_the_end() {
    let bus = Bus::new();
    let mut agent = bus.start::<Counter>().unwrap();
    agent.configure(json!({"start": 7}));
    assert_eq!(agent.agent().0, 7);
    agent.lead("nlp", true, 9);
    assert_eq!(agent.agent().0, 9);
    agent.coordinate("w1", "ready", "11");
    assert_eq!(agent.health(), Health::ok().with_detail("11"));
    agent.agent_mut().0 = 1;
    agent.configure(json!({"start": "x"}));
    agent.notice("weather", "{}");
    agent.stop("drain");
    let lines: Vec<String> = bus.logs().into_iter().map(|line| line.message).collect();
    assert_eq!(
        lines,
        [
            "the notice `configuration` was not handled: json: [config] start: invalid type: \
             string \"x\", expected u32 at line 1 column 3",
            "the notice `weather` was not handled: weather {}",
            "stopped: drain",
        ]
    );
}

#[test]
fn what_is_denied_is_refused_and_not_done() {
    let bus = Bus::new().with_stream("S", ">");
    bus.answer(">", |_| Ok(Reply::none()));
    bus.deny("secret.>");
    bus.deny_keys("CACHE", "secret.*");
    let cache = Bucket::new("CACHE");
    bus.run(|| {
        let denied = [
            messaging::publish("secret.a", "").unwrap_err(),
            messaging::publish_stored("secret.a", "").unwrap_err(),
            messaging::request("secret.a", "").unwrap_err(),
            messaging::subscribe("secret.>").unwrap_err(),
            cache.get("secret.a").unwrap_err(),
            cache.put("secret.a", "").unwrap_err(),
            cache.create("secret.a", "").unwrap_err(),
            cache.update("secret.a", "", 1).unwrap_err(),
            cache.delete("secret.a").unwrap_err(),
            cache.keys("secret.*").unwrap_err(),
        ];
        for error in denied {
            assert_eq!(error.kind(), "denied", "{error}");
        }
        messaging::publish("open.a", "").unwrap();
        messaging::subscribe("open.>").unwrap();
        cache.put("open.a", "").unwrap();
    });
    assert_eq!(bus.published().len(), 1);
    assert!(bus.requests().is_empty());
    assert_eq!(bus.value("CACHE", "secret.a"), None);
}

#[test]
fn each_call_can_be_made_to_fail_once() {
    let bus = Bus::new();
    let cache = Bucket::new("CACHE");
    let calls = [
        Call::Publish,
        Call::PublishStored,
        Call::Request,
        Call::Subscribe,
        Call::Unsubscribe,
        Call::KvGet,
        Call::KvPut,
        Call::KvCreate,
        Call::KvUpdate,
        Call::KvDelete,
        Call::KvKeys,
    ];
    for call in calls {
        bus.fail(call, CallError::RateLimited);
    }
    bus.run(|| {
        let failed = [
            messaging::publish("a", "").err(),
            messaging::publish_stored("a", "").err(),
            messaging::request("a", "").err(),
            messaging::subscribe("a").err(),
            messaging::unsubscribe(1).err(),
            cache.get("a").err(),
            cache.put("a", "").err(),
            cache.create("a", "").err(),
            cache.update("a", "", 1).err(),
            cache.delete("a").err(),
            cache.keys(">").err(),
        ];
        assert_eq!(failed, [const { Some(CallError::RateLimited) }; 11]);
        assert_eq!(messaging::publish("a", ""), Ok(()));
    });
    assert_eq!(bus.published().len(), 1);
}

#[test]
fn agents_in_threads_compete_for_a_key() {
    struct Adder;
    impl Agent for Adder {
        fn start() -> Result<Self> {
            Ok(Self)
        }
        fn message(&mut self, _: &Message) -> Result<Reply> {
            let add = |old: Option<u32>| old.unwrap_or(0) + 1;
            Ok(json!(Bucket::new("SUM").update_with("total", add)?).into())
        }
    }
    let bus = Bus::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut agent = bus.start::<Adder>().unwrap();
                for _ in 0..50 {
                    agent.message("add", "").unwrap();
                }
            });
        }
    });
    assert_eq!(bus.value("SUM", "total").unwrap(), b"200");
}

#[test]
fn an_answer_may_ask_another_agent() {
    struct Relay;
    impl Agent for Relay {
        fn start() -> Result<Self> {
            Ok(Self)
        }
        fn execute(&mut self, _: &Message) -> Result<Reply> {
            let inner = messaging::request("tools.inner", "3")?;
            // The context is this agent's again after the other one has answered.
            Ok(json!([context::agent_id(), inner.json::<Value>()?]).into())
        }
    }
    let bus = Bus::new();
    let mut inner = bus.start::<Counter>().unwrap();
    bus.answer("tools.inner", move |request| {
        let answer = inner.execute(request.payload.as_slice());
        answer.map_err(|error| CallError::Other(error.to_string()))
    });
    let mut outer = bus.start::<Relay>().unwrap();
    assert_eq!(
        outer.execute("").unwrap().to_value(),
        json!(["mock-002", [3, "agent.mock-001.cmd.execute"]])
    );
}

#[test]
fn without_a_bus_calls_say_so() {
    let error = messaging::publish("a", "").unwrap_err();
    assert_eq!(error.kind(), "unavailable");
    log::info!("goes to standard error only");
}

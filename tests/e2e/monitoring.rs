//! The monitoring commands that people type, as the `nats` program asks the server: the same API
//! subjects, the same requests.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use harness::{Host, Nats, Running, header, until};

/// A server with a host, and three items that wait: their agent is paused.
async fn waiting() -> (Nats, Running) {
    let nats = Nats::start().await;
    let host = Host::new(&nats)
        .plugin("probe", |p| p.work("nlp", "*"))
        .run()
        .await;
    let paused = nats.request_json("agent.probe-001.cmd.pause", "").await;
    assert_eq!(paused["ok"], true, "{paused}");
    for (subject, payload) in [
        ("work.nlp.high.one", "1"),
        ("work.nlp.two", "2"),
        ("work.nlp.low.three", "3"),
    ] {
        nats.work(subject, payload).await;
    }
    (nats, host)
}

/// `nats stream info WORK_QUEUE`
#[tokio::test]
async fn stream_info_of_the_work_queue() {
    let (nats, _host) = waiting().await;
    let info = nats
        .request_json("$JS.API.STREAM.INFO.WORK_QUEUE", "")
        .await;
    assert_eq!(
        info["type"],
        "io.nats.jetstream.api.v1.stream_info_response"
    );
    assert_eq!(info["config"]["subjects"], json!(["work.>"]));
    assert_eq!(info["config"]["retention"], "workqueue");
    assert_eq!(info["state"]["messages"], 3);
    assert!(
        info["state"]["consumer_count"].as_u64() >= Some(5),
        "{info}"
    );
    // With what waits on each subject: `--subjects`, and `nats stream subjects`.
    let asked = json!({"subjects_filter": "work.>"}).to_string();
    let info = nats
        .request_json("$JS.API.STREAM.INFO.WORK_QUEUE", asked)
        .await;
    let expected = json!({"work.nlp.high.one": 1, "work.nlp.two": 1, "work.nlp.low.three": 1});
    assert_eq!(info["state"]["subjects"], expected);
}

/// `nats stream view WORK_QUEUE --subjects="work.>"`: a work queue is read by direct gets, because
/// a consumer to look with is not allowed beside those that work.
#[tokio::test]
async fn stream_view_of_the_work_queue() {
    let (nats, _host) = waiting().await;
    let info = nats
        .request_json("$JS.API.STREAM.INFO.WORK_QUEUE", "")
        .await;
    assert_eq!(info["config"]["allow_direct"], true, "{info}");
    let mut seen = Vec::new();
    let mut next = 1;
    loop {
        let asked = json!({"seq": next, "next_by_subj": "work.>"}).to_string();
        let message = nats.request("$JS.API.DIRECT.GET.WORK_QUEUE", asked).await;
        let status = message.status.map(|status| status.as_u16());
        if status == Some(404) {
            break;
        }
        let headers = message.headers.unwrap();
        next = header(&headers, "Nats-Sequence").parse::<u64>().unwrap() + 1;
        let payload = String::from_utf8(message.payload.to_vec()).unwrap();
        seen.push((header(&headers, "Nats-Subject"), payload));
    }
    let all = [
        ("work.nlp.high.one", "1"),
        ("work.nlp.two", "2"),
        ("work.nlp.low.three", "3"),
    ];
    assert_eq!(
        seen,
        all.map(|(subject, payload)| (subject.to_owned(), payload.to_owned()))
    );

    // Looking has taken nothing away.
    let info = nats
        .request_json("$JS.API.STREAM.INFO.WORK_QUEUE", "")
        .await;
    assert_eq!(info["state"]["messages"], 3);
}

/// `nats kv get AGENT_STATE agent.<id>`
#[tokio::test]
async fn the_state_of_an_agent() {
    let (nats, _host) = waiting().await;
    nats.state_is("probe-001", "paused").await;
    let info = nats
        .request_json("$JS.API.STREAM.INFO.KV_AGENT_STATE", "")
        .await;
    let state: Value = if info["config"]["allow_direct"] == true {
        let subject = "$JS.API.DIRECT.GET.KV_AGENT_STATE.$KV.AGENT_STATE.agent.probe-001";
        let message = nats.request(subject, "").await;
        serde_json::from_slice(&message.payload).unwrap()
    } else {
        let asked = json!({"last_by_subj": "$KV.AGENT_STATE.agent.probe-001"}).to_string();
        let answer = nats
            .request_json("$JS.API.STREAM.MSG.GET.KV_AGENT_STATE", asked)
            .await;
        let data = answer["message"]["data"].as_str().unwrap();
        let bytes = BASE64_STANDARD.decode(data).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    assert_eq!(state["agent_id"], "probe-001", "{state}");
    assert_eq!(state["status"], "paused");
    assert!(state["capabilities"].is_array() && state["metadata"].is_object());
}

/// `nats sub "coord.>" --queue=monitor`: two who watch together see each event once, and the stream
/// keeps it all the same.
#[tokio::test]
async fn watching_coordination_in_a_queue_group() {
    let (nats, _host) = waiting().await;
    let other = nats.another().await;
    let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut watching = Vec::new();
    for client in [&nats.client, &other.client] {
        let group = client.queue_subscribe("coord.>", "monitor".to_owned());
        let mut events = group.await.unwrap();
        let tell = tell.clone();
        watching.push(tokio::spawn(async move {
            while let Some(event) = events.next().await {
                tell.send(event.subject.to_string()).unwrap();
            }
        }));
    }
    nats.answers().await;
    other.answers().await;
    let workflows: Vec<String> = (1..=20).map(|n| format!("coord.w{n}.cancel")).collect();
    for subject in &workflows {
        nats.work(subject, "{}").await;
    }
    let mut seen = Vec::new();
    until("each event is seen", async || {
        while let Ok(subject) = heard.try_recv() {
            seen.push(subject);
        }
        (seen.len() >= workflows.len()).then_some(())
    })
    .await;
    seen.sort();
    let mut all = workflows;
    all.sort();
    assert_eq!(seen, all, "each once");
    assert_eq!(
        nats.stored("COORDINATION", "coord.>").await.len(),
        all.len()
    );
    for task in watching {
        task.abort();
    }
}

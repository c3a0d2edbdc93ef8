//! `mistersmith permissions`: what plugins may do, given to a server.

use serde_json::json;

use super::{PASSWORD, may_not_publish, nothing_refused};
use harness::{Ear, Host, Nats, Operator, Plugin, Running};

/// The plugins that the repository ships.
const EXAMPLES: [&str; 11] = [
    "analyze",
    "coordinator",
    "echo",
    "extract",
    "librarian",
    "preprocess",
    "reporter",
    "researcher",
    "sentiment",
    "summarize",
    "word-count",
];

async fn with_examples() -> (Nats, Running) {
    let nats = Nats::start().await;
    let plugins = EXAMPLES.map(Plugin::shipped);
    let host = plugins
        .into_iter()
        .fold(Host::new(&nats), Host::with)
        .written();
    (nats, host)
}

#[tokio::test]
async fn permissions_are_said_in_words() {
    let (_nats, host) = with_examples().await;
    let all = host.cli(&["permissions"]).await.ok().stdout;
    for name in EXAMPLES {
        assert!(all.contains(&format!("the agents of {name}\n")), "{all}");
    }
    let echo = host.cli(&["permissions", "echo"]).await.ok().stdout;
    assert!(
        all.contains(&echo) && echo.contains("receive, and answer, tools.echo"),
        "{echo}"
    );
    assert!(echo.contains("may do nothing else"), "{echo}");
    let json = host
        .cli(&["permissions", "reporter", "--json"])
        .await
        .ok()
        .json();
    assert_eq!(json[0]["name"], "reporter");
    let kv = json!("may read, list, write and delete the keys * of bucket REPORTS");
    assert!(json[0]["may"].as_array().unwrap().contains(&kv), "{json}");
    assert_eq!(host.cli(&["permissions", "nobody"]).await.code, Some(64));
}

#[tokio::test]
async fn a_server_takes_the_permissions_of_every_example() {
    let (_nats, host) = with_examples().await;
    let conf = host
        .cli(&["permissions", "--nats-server"])
        .await
        .ok()
        .stdout;
    let users = EXAMPLES.map(|name| {
        let role = name.to_uppercase().replace('-', "_");
        format!("{{ user: {name}, password: \"{PASSWORD}\", permissions: ${role}_PLUGIN }}\n")
    });
    let accounts = format!(
        "{conf}\naccounts {{ A {{ jetstream: enabled, users: [\n\
         {{ user: test, password: \"{PASSWORD}\" }}\n{}] }} }}",
        users.concat()
    );
    let nats = Nats::options()
        .with_user("test", PASSWORD)
        .line(&accounts)
        .tapped()
        .start()
        .await;
    for name in EXAMPLES {
        let user = nats.as_user(name, PASSWORD, "_INBOX").await;
        let _inbox = Ear::unconfirmed(&user.client, "_INBOX.x.*").await;
        user.client.flush().await.unwrap();
        nothing_refused(&nats, name);
        for subject in [
            "$JS.API.STREAM.DELETE.WORK_QUEUE",
            "agent.echo-001.cmd.shutdown",
            "dlq.x",
        ] {
            may_not_publish(&nats, &user, name, subject).await;
        }
    }
    // Granted actions pass.
    let reporter = nats.as_user("reporter", PASSWORD, "_INBOX").await;
    let heard = nats.listen("coord.*.reported").await;
    let before = nats.refused_to("reporter").len();
    reporter.publish("coord.w.reported", "x").await;
    heard.on_subject("coord.w.reported").await;
    assert_eq!(nats.refused_to("reporter").len(), before);
}

#[tokio::test]
async fn a_plugin_works_with_the_permissions_that_the_command_prints() {
    let probe = |plugin: Plugin| {
        plugin
            .head("credentials = \"own.creds\"")
            .subscribe_queue("tools.probe", "probes")
            .grant_publish("out.>")
            .grant_request("ask.*")
            .grant_subscribe("in.>")
            .grant_kv("OWN", "{agent}.>", "read-write")
            .deny("out.secret")
    };
    let operator = Operator::generate();
    let nats = Nats::options()
        .line(operator.lines())
        .credentials(&operator.credentials(json!({})))
        .start()
        .await;
    let servers = format!(
        "servers = [\"{}\"]\ncredentials = \"host.creds\"",
        nats.url()
    );
    let host = |own: &str| {
        let plugin = probe(Plugin::new("probe")).file("own.creds", own);
        let host = Host::new(&nats).nats(&servers).with(plugin);
        host.file("host.creds", operator.credentials(json!({})))
    };
    // Asked before there are any credentials.
    let asked = host("to be made")
        .written()
        .cli(&["permissions", "--json"])
        .await;
    let rights = asked.ok().json()[0]["nats"].clone();
    let seconds = rights["allow_responses"].as_u64().expect("it answers");
    let own = operator.credentials(json!({
        "pub": rights["publish"], "sub": rights["subscribe"],
        "resp": {"max": 1, "ttl": seconds * 1_000_000_000},
    }));
    let host = host(&own).run().await;

    let out = nats.listen("out.>").await;
    let answering = nats.client.subscribe("ask.x").await.unwrap();
    let client = nats.client.clone();
    tokio::spawn(async move {
        use futures_util::StreamExt as _;
        let mut answering = answering;
        while let Some(question) = answering.next().await {
            client
                .publish(question.reply.unwrap(), "1".into())
                .await
                .unwrap();
        }
    });
    nats.client.flush().await.unwrap();
    let key = |mut command: serde_json::Value| {
        command["bucket"] = json!("OWN");
        command
    };
    let commands = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "out.open"},
        {"do": "request", "subject": "ask.x", "timeout_ms": 2000},
        key(json!({"do": "kv_put", "key": "probe-001.a", "value": "v"})),
        key(json!({"do": "kv_get", "key": "probe-001.a"})),
        key(json!({"do": "kv_keys", "pattern": "probe-001.>"})),
    ]});
    let answer = nats.request("tools.probe", commands.to_string()).await;
    let text = String::from_utf8_lossy(&answer.payload).into_owned();
    assert!(text.contains("probe-001.a"), "{text}");
    out.on_subject("out.open").await;
    assert_eq!(
        host.logs
            .find(|line| line.message().contains("denied"))
            .len(),
        0
    );
}

//! A plugin with credentials of its own: the server holds it to less than the manifest would.

use serde_json::json;

use harness::{Host, Nats, Operator, Plugin, until};

#[tokio::test]
async fn a_plugin_with_its_own_credentials_is_held_to_them_by_the_server() {
    let operator = Operator::generate();
    let nats = Nats::options()
        .line(operator.lines())
        .credentials(&operator.credentials(json!({})))
        .start()
        .await;
    let own = operator.credentials(json!({
        "pub": {"allow": ["out.open", "_INBOX.>"]},
        "sub": {"allow": ["in.>", "_INBOX.>"]},
    }));
    let ear = nats.listen("out.>").await;
    let limited = |version: &str| {
        Plugin::new("probe")
            .version(version)
            .head("credentials = \"own.creds\"")
            .file("own.creds", own.as_str())
            .subscribe("in.all")
            .subscribe_queue("in.queue", "q")
            .grant_publish("out.>")
    };
    let host = Host::new(&nats)
        .nats(&format!(
            "servers = [\"{}\"]\ncredentials = \"host.creds\"",
            nats.url()
        ))
        .file("host.creds", operator.credentials(json!({})))
        .with(limited("0.1.0"))
        .run()
        .await;
    let both = json!({"do": "sequence", "commands": [
        {"do": "publish", "subject": "out.shut"}, {"do": "publish", "subject": "out.open"},
    ]});
    nats.request("in.queue", both.to_string()).await;
    ear.on_subject("out.open").await;
    assert_eq!(ear.count("out.shut"), 0, "the server refused it");

    // The connection outlives a reload, and with it the subscriptions: nothing is heard twice.
    let once = json!({"do": "publish", "subject": "out.open"}).to_string();
    host.drop_in(&limited("0.2.0"));
    let mut sent = 0;
    until("it is replaced while messages come", async || {
        nats.publish("in.all", once.clone()).await;
        sent += 1;
        (!host
            .logs
            .find(|line| line.message() == "plugin replaced")
            .is_empty())
        .then_some(())
    })
    .await;
    nats.publish("in.all", once.clone()).await;
    until("all were heard", async || {
        (ear.count("out.open") > sent + 1).then_some(())
    })
    .await;
    nats.request("in.queue", json!({"do": "context"}).to_string())
        .await;
    assert_eq!(ear.count("out.open"), sent + 2, "each of them once");
}

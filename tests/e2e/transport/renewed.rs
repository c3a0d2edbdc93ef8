//! Credentials that end and are replaced while the host runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

use harness::{Host, Line, Nats, Operator, until};

#[tokio::test]
async fn a_credentials_file_that_is_replaced_brings_the_host_back() {
    let operator = Operator::generate();
    let nats = Nats::options()
        .line(operator.lines())
        .credentials(&operator.credentials(json!({})))
        .start()
        .await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let short = operator.credentials_until(json!({}), Some(now.as_secs() + 12));
    let mut host = Host::new(&nats)
        .nats(&format!(
            "servers = [\"{}\"]\ncredentials = \"host.creds\"",
            nats.url()
        ))
        .file("host.creds", short)
        .plugin("echo", |p| p.subscribe("tools.echo"))
        .run()
        .await;
    assert_eq!(&*nats.request("tools.echo", "a").await.payload, b"a");
    host.logs
        .saying("the NATS server rejects the login of a reconnect")
        .await;
    // What repeats until then is written once in a while, with a number.
    let collapsed = |line: &Line| {
        let times: u64 = line.field("times").parse().unwrap_or_default();
        line.message().contains("the host's lease was not renewed") && times > 5
    };
    host.logs.first("a collapsed line", collapsed).await;
    let written = |text: &str| host.logs.find(|line| line.message().contains(text)).len();
    assert_eq!(written("the host's lease was not renewed"), 2);
    let refused = written("the NATS server rejects the login of a reconnect");
    assert!(refused <= 3 * 4, "{refused} for three connections");

    let fresh = operator.credentials(json!({}));
    std::fs::write(host.folder().join("host.creds"), fresh).unwrap();
    until("agents answer again", async || {
        let asked = nats.client.request("tools.echo", "b".into());
        let answer = tokio::time::timeout(Duration::from_secs(1), asked).await;
        (&*answer.ok()?.ok()?.payload == b"b").then_some(())
    })
    .await;
    assert_eq!(host.exited(), None);
}

//! The configurations of `docs/security.md`, given to a server: what each role can do, and what the
//! server refuses it.

mod boundaries;
mod plugins;
mod roles;

use crate::docs::markdown::page;
use harness::{Ear, Host, Nats, NatsOptions, Outside, Plugin, Ran, Running, until};

/// A configuration of a page, under the name that stands behind its fence.
pub fn configuration(page_name: &str, file: &str) -> String {
    let info = format!("conf server={file}");
    let blocks = page(page_name).blocks();
    let block = blocks.into_iter().find(|block| block.info == info);
    block
        .unwrap_or_else(|| panic!("{page_name} has no {info}"))
        .text
}

pub const PASSWORD: &str = "5d41402abc4b2a76b9719d91";

/// The accounts of the page, with their passwords, and in each a user who is the test itself.
pub fn with_passwords() -> String {
    let mut text = configuration("docs/security.md", "accounts.conf");
    for account in ["kitchen", "garden"] {
        let first = format!("{{ user: {account}-host,");
        let test = format!("{{ user: {account}-test, password: \"{PASSWORD}\" }}\n{first}");
        assert!(text.contains(&first), "{account} has a host");
        text = text.replace(&first, &test);
    }
    let passwords = [
        "KITCHEN_HOST",
        "KITCHEN_OPERATOR",
        "SHOP",
        "DESK",
        "SCREEN",
        "GARDEN_HOST",
        "GARDEN_OPERATOR",
    ];
    let passwords = passwords.map(|name| format!("{name}: \"{PASSWORD}\"\n"));
    passwords.concat() + &text
}

/// A server with these accounts.
async fn server() -> Nats {
    accounts().start().await
}

fn accounts() -> NatsOptions {
    let options = Nats::options().with_user("kitchen-test", PASSWORD);
    options.line(&with_passwords()).tapped()
}

/// A host of an account.
fn host(nats: &Nats, account: &str) -> Host {
    Host::new(nats).named(account).nats(&format!(
        "servers = [\"{}\"]\nuser = \"{account}-host\"\npassword = \"{PASSWORD}\"",
        nats.url()
    ))
}

fn with_examples(host: Host) -> Host {
    let plugins = ["echo", "sentiment", "word-count"].map(Plugin::shipped);
    plugins.into_iter().fold(host, Host::with)
}

/// A command, carried out by the operator of the first account.
async fn operate(nats: &Nats, host: &Running, args: &[&str]) -> Ran {
    operate_fed(nats, host, args, b"").await
}

/// The same, with something on its standard input.
async fn operate_fed(nats: &Nats, host: &Running, args: &[&str], input: &[u8]) -> Ran {
    let url = nats
        .url()
        .replace("nats://", &format!("nats://kitchen-operator:{PASSWORD}@"));
    let args: Vec<&str> = args.iter().copied().chain(["--nats", &url]).collect();
    host.cli_fed(&args, input).await
}

/// Publishes, and waits until the server has refused it.
async fn may_not_publish(nats: &Nats, client: &Outside, user: &str, subject: &str) {
    client.publish(subject, "x").await;
    refused(nats, user, "Publish", subject).await;
}

async fn may_not_subscribe(nats: &Nats, client: &Outside, user: &str, subject: &str) {
    let _ear = Ear::unconfirmed(&client.client, subject).await;
    refused(nats, user, "Subscription", subject).await;
}

async fn refused(nats: &Nats, user: &str, what: &str, subject: &str) {
    let denied = format!("Permissions Violation for {what} to \"{subject}\"");
    until(
        &format!("{user}: {what} of {subject} is refused"),
        async || {
            nats.refused_to(user)
                .iter()
                .any(|line| line.contains(&denied))
                .then_some(())
        },
    )
    .await;
}

/// Nothing was refused to this user: what it did was allowed.
fn nothing_refused(nats: &Nats, user: &str) {
    let refused = nats.refused_to(user);
    assert!(refused.is_empty(), "\n{}", refused.join("\n"));
}

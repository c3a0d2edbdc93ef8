//! `mistersmith agents`: the agents of all hosts on this NATS system, and work without a consumer.

mod state;
mod unclaimed;

use anyhow::Context;
use serde_json::{Value, json};

use crate::cli::global::Global;
use crate::cli::{connect, output};
use mistersmith_nats::provision;
use mistersmith_nats::{Role, Transport};
use state::State;
use unclaimed::Unclaimed;

/// Arguments of `agents`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(global: &Global, args: &Args) -> anyhow::Result<()> {
    let transport = connect::connect(global).await?;
    let connection = transport.connection(Role::Control);
    let server = server(&transport).await;
    let agents = state::read(connection)
        .await
        .context("cannot read the agents")?;
    let unclaimed = unclaimed::read(connection)
        .await
        .context("cannot read the work queue")?;
    // Some users may not list the streams.
    let missing = provision::absent(&transport).await.unwrap_or_else(|error| {
        tracing::debug!(%error, "not known whether JetStream lacks anything");
        Vec::new()
    });
    if args.json {
        return output::json(&json!({
            "server": server,
            "agents": agents.iter().map(State::json).collect::<Vec<_>>(),
            "unclaimed_work": unclaimed,
            "missing": missing,
        }));
    }
    show(&server, &agents, &unclaimed)?;
    if !missing.is_empty() {
        output::line(&format!(
            "\nmissing in JetStream: {}; hosts make it again, unless [jetstream] heal is false",
            missing.join(", ")
        ))?;
    }
    Ok(())
}

/// Facts about the server, through this command's own connection.
async fn server(transport: &Transport) -> Value {
    let round_trip = transport.rtt().await.ok();
    let mut server = json!(transport.state());
    if let Some(server) = server.as_object_mut() {
        let millis = round_trip.map(|time| (time.as_secs_f64() * 1e6).round() / 1e3);
        server.insert("round_trip_ms".to_owned(), json!(millis));
    }
    server
}

fn show(server: &Value, agents: &[State], unclaimed: &[Unclaimed]) -> anyhow::Result<()> {
    let text = |name: &str| match server.get(name) {
        Some(Value::String(text)) => output::one_line(text, 100),
        Some(Value::Null) | None => "?".to_owned(),
        Some(value) => value.to_string(),
    };
    let jetstream = if text("jetstream") == "true" {
        "with"
    } else {
        "without"
    };
    output::line(&format!(
        "server {} (nats-server {}) at {}, {jetstream} JetStream, round trip {} ms, {} reconnects\n",
        text("server"),
        text("version"),
        text("url"),
        text("round_trip_ms"),
        text("reconnects"),
    ))?;
    if agents.is_empty() {
        output::line("no agents; `mistersmith run` starts those of the plugins folder")?;
    } else {
        let head = [
            "agent",
            "status",
            "load",
            "heartbeat",
            "host",
            "version",
            "handled",
            "failed",
        ];
        let rows: Vec<Vec<String>> = agents.iter().map(State::row).collect();
        output::line(&output::table(&head, &rows))?;
    }
    let denied: Vec<Vec<String>> = agents.iter().flat_map(State::denied).collect();
    if !denied.is_empty() {
        output::line("\nsubscriptions that the NATS server denies:")?;
        output::line(&output::table(&["agent", "subject"], &denied))?;
    }
    let failing = state::failing_pulls(agents);
    if !failing.is_empty() {
        output::line("\nconsumers whose pulls keep failing, so that their work waits:")?;
        output::line(&output::table(&["consumer", "host", "error"], &failing))?;
    }
    if !unclaimed.is_empty() {
        output::line("\nwork that no plugin takes, on any host:")?;
        let rows: Vec<Vec<String>> = unclaimed.iter().map(Unclaimed::row).collect();
        output::line(&output::table(&["subject", "messages"], &rows))?;
    }
    Ok(())
}

//! `$SRV.PING`, `INFO` and `STATS`: every agent answers as an instance of a NATS micro service.
//!
//! The service is the plugin, the instance is the agent, and its one endpoint is
//! `agent.<id>.cmd.execute`. One subscription answers for all agents of the host: a service per
//! agent would need nine. Answers consist of known state; no plugin is called.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::status::{AgentSnapshot, AgentStatus};
use mistersmith_nats::{Connection, Message, RequestId, Trace, TransportError};

use crate::agents::{AgentHandle, Directory};
use crate::delivery::error_reply::json_headers;
use crate::delivery::reply_subject;

use super::serve;

/// The version of a plugin whose own version is not valid for a micro service.
const NO_VERSION: &str = "0.0.0";

/// The verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Ping,
    Info,
    Stats,
}

/// The verb of a request, and its targets.
#[derive(Debug, PartialEq, Eq)]
struct Question<'a> {
    verb: Verb,
    /// The plugin; `None` means every plugin.
    name: Option<&'a str>,
    /// The agent; `None` means every agent of the plugin.
    id: Option<&'a str>,
}

impl<'a> Question<'a> {
    /// Parses `$SRV.<verb>[.<name>[.<id>]]`; `None` for any other subject.
    fn parse(subject: &'a str) -> Option<Self> {
        let mut tokens = subject.strip_prefix("$SRV.")?.split('.');
        let verb = match tokens.next()? {
            "PING" => Verb::Ping,
            "INFO" => Verb::Info,
            "STATS" => Verb::Stats,
            _ => return None,
        };
        let (name, id) = (tokens.next(), tokens.next());
        tokens.next().is_none().then_some(Self { verb, name, id })
    }

    fn means(&self, handle: &AgentHandle) -> bool {
        self.name.is_none_or(|name| name == handle.plugin.as_str())
            && self.id.is_none_or(|id| id == handle.id.as_str())
    }
}

/// Serves requests until cancelled.
pub async fn serve(
    connection: Connection,
    directory: Directory,
    cancel: CancellationToken,
) -> Result<(), TransportError> {
    let questions = connection.subscribe("$SRV.>", None).await?;
    let answer_question = move |question| {
        let (connection, directory) = (connection.clone(), directory.clone());
        async move { answer(&connection, &directory, &question).await }
    };
    let asks_several = |message: &Message| {
        Question::parse(&message.subject).is_some_and(|question| question.id.is_none())
    };
    tokio::spawn(serve::serve_both(
        questions,
        cancel,
        asks_several,
        answer_question,
    ));
    Ok(())
}

/// Answers one request at a time, so that many of them cannot starve the connection.
async fn answer(connection: &Connection, directory: &Directory, message: &Message) {
    let (Some(question), Some(reply)) = (Question::parse(&message.subject), reply_subject(message))
    else {
        return;
    };
    let trace = Trace::received(&message.headers, RequestId::new);
    let mut handles = directory.all();
    handles.retain(|handle| question.means(handle));
    let turns = serve::Turns::new(handles.len());
    for (number, handle) in handles.into_iter().enumerate() {
        turns.wait(number).await;
        let snapshot = handle.snapshot();
        if snapshot.status == AgentStatus::Stopped {
            continue;
        }
        let body = body(question.verb, &snapshot, &handle);
        let headers = json_headers(&trace, &handle.id);
        let sent = connection.publish(reply, None, headers, body.to_string().into());
        if let Err(error) = sent.await {
            tracing::debug!(agent = %handle.id, %error, "a question on $SRV was not answered");
        }
    }
}

fn body(verb: Verb, agent: &AgentSnapshot, handle: &AgentHandle) -> Value {
    let mut body = json!({
        "name": agent.plugin,
        "id": agent.agent_id,
        "version": version(&agent.version),
        "metadata": metadata(agent),
    });
    let mut endpoint = json!({
        "name": "execute",
        "subject": format!("agent.{}.cmd.execute", agent.agent_id),
        "queue_group": "",
    });
    match verb {
        Verb::Ping => put(&mut body, json!({"type": "io.nats.micro.v1.ping_response"})),
        Verb::Info => {
            put(&mut endpoint, json!({"metadata": {}}));
            put(
                &mut body,
                json!({
                    "type": "io.nats.micro.v1.info_response",
                    "description": handle.state.description(),
                    "endpoints": [endpoint],
                }),
            );
        }
        Verb::Stats => {
            put(&mut endpoint, handle.state.executed.stats());
            put(
                &mut body,
                json!({
                    "type": "io.nats.micro.v1.stats_response",
                    "started": handle.state.started(),
                    "endpoints": [endpoint],
                }),
            );
        }
    }
    body
}

/// All values are strings: clients read nothing else.
fn metadata(agent: &AgentSnapshot) -> Value {
    json!({
        "plugin_version": agent.version,
        "host": agent.host,
        "host_id": agent.host_id,
        "status": agent.status.as_str(),
        "capabilities": agent.capabilities.join(","),
    })
}

/// Clients reject a version that is not semantic; the real one stands in the metadata.
fn version(of_plugin: &str) -> &str {
    match semver::Version::parse(of_plugin) {
        Ok(_) => of_plugin,
        Err(_) => NO_VERSION,
    }
}

fn put(body: &mut Value, more: Value) {
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_question() {
        let cases = [
            ("$SRV.PING", Some((Verb::Ping, None, None))),
            ("$SRV.INFO.echo", Some((Verb::Info, Some("echo"), None))),
            (
                "$SRV.STATS.echo.echo-001",
                Some((Verb::Stats, Some("echo"), Some("echo-001"))),
            ),
            ("$SRV.STATS.echo.echo-001.more", None),
            ("$SRV.SCHEMA", None),
            ("$SRV.ping", None),
            ("SRV.PING", None),
        ];
        for (subject, expected) in cases {
            let read = Question::parse(subject).map(|q| (q.verb, q.name, q.id));
            assert_eq!(read, expected, "{subject}");
        }
    }

    #[test]
    fn only_semantic_versions_are_shown_as_such() {
        for (plugin, shown) in [
            ("0.1.0", "0.1.0"),
            ("1.2.3-rc.1+4", "1.2.3-rc.1+4"),
            ("2026-01", NO_VERSION),
            ("v1.0.0", NO_VERSION),
        ] {
            assert_eq!(version(plugin), shown);
        }
    }
}

//! The identity of this agent, its configuration, and the message it handles. Needs no grant.

use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::error::{CallError, Result};
use crate::imports;

/// This agent's id, `<plugin>-<NNN>`.
#[must_use]
pub fn agent_id() -> String {
    imports::agent_id()
}

/// The name of the plugin.
#[must_use]
pub fn plugin() -> String {
    imports::plugin()
}

/// The version of the plugin, from its manifest.
#[must_use]
pub fn version() -> String {
    imports::version()
}

/// The configuration: `[config]` of the manifest, overridden by the command `config`.
///
/// ```
/// # use mistersmith_sdk::{context, mock::Bus, Agent, Result, json};
/// # struct Greeter { greeting: String }
/// #[derive(serde::Deserialize)]
/// struct Config {
///     greeting: String,
/// }
/// # impl Agent for Greeter {
/// # fn start() -> Result<Self> {
/// let config: Config = context::config()?;
/// # Ok(Self { greeting: config.greeting })
/// # }}
/// # assert_eq!(Bus::new().with_config(json!({"greeting": "hi"})).start::<Greeter>()?.agent().greeting, "hi");
/// # Ok::<(), mistersmith_sdk::Error>(())
/// ```
///
/// # Errors
/// [`CallError::Json`] when it is not of this shape; the message says where.
pub fn config<T: DeserializeOwned>() -> Result<T, CallError> {
    serde_json::from_str(&imports::config())
        .map_err(|error| CallError::Json(format!("[config] is not what was expected: {error}")))
}

/// One value of the configuration; `key` is a name at the top of `[config]`. None when it is not
/// there.
///
/// # Errors
/// [`CallError::Json`] when it is not of this shape.
pub fn config_value<T: DeserializeOwned>(key: &str) -> Result<Option<T>, CallError> {
    imports::config_value(key)
        .map(|json| serde_json::from_str(&json))
        .transpose()
        .map_err(|error| CallError::Json(format!("[config] {key}: {error}")))
}

/// The request id of the message being handled: the same each time a work item is tried. Empty
/// outside a delivery.
#[must_use]
pub fn request_id() -> String {
    imports::request_id()
}

/// The trace id of the message being handled: 32 hexadecimal digits, or what the sender used.
#[must_use]
pub fn trace_id() -> String {
    imports::trace_id()
}

/// How much is left of the current call; never more than `limits.timeout` of the manifest.
#[must_use]
pub fn remaining() -> Duration {
    Duration::from_millis(imports::remaining_ms().into())
}

/// The headers of one item of the batch being handled.
pub(crate) fn item_headers(item: u32) -> Vec<(String, String)> {
    imports::headers(item)
}

/// The first value of one header of one item.
pub(crate) fn item_header(item: u32, name: &str) -> Option<String> {
    imports::header(item, name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::mock::{Bus, Delivery};
    use crate::{Agent, Message, Reply};
    use serde_json::{Value, json};

    /// Tells what it knows.
    struct Knows;

    impl Agent for Knows {
        fn start() -> Result<Self> {
            Ok(Self)
        }

        fn message(&mut self, message: &Message) -> Result<Reply> {
            let language: Option<String> = config_value("language")?;
            let missing: Option<String> = config_value("missing")?;
            Ok(Reply::from(json!({
                "agent": agent_id(), "plugin": plugin(), "version": version(),
                "config": config::<Value>()?, "language": language, "missing": missing,
                "request": request_id(), "trace": trace_id(),
                "remaining": remaining().as_millis(),
                "headers": message.headers(), "x": message.header("x-one"),
            })))
        }
    }

    #[test]
    fn an_agent_knows_itself_and_its_message() {
        let bus = Bus::new()
            .with_plugin("knows", "1.2.3")
            .with_config(json!({"language": "en"}))
            .with_remaining(Duration::from_millis(1234));
        let mut agent = bus.start::<Knows>().unwrap();
        let delivery = Delivery::message("a.b", "")
            .header("X-One", "1")
            .request_id("r1")
            .trace_id("t1");
        let told = agent.deliver(delivery).unwrap().to_value();
        let expected = json!({
            "agent": "knows-001", "plugin": "knows", "version": "1.2.3",
            "config": {"language": "en"}, "language": "en", "missing": null,
            "request": "r1", "trace": "t1",
            "remaining": 1234,
            "headers": [["X-One", "1"]], "x": "1",
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn a_wrong_shape_is_told() {
        struct Wrong;
        impl Agent for Wrong {
            fn start() -> Result<Self> {
                assert_eq!(
                    config_value::<u32>("language").unwrap_err().to_string(),
                    "json: [config] language: invalid type: string \"en\", expected u32 at line 1 \
                     column 4"
                );
                config::<Vec<u8>>()?;
                Ok(Self)
            }
        }
        let bus = Bus::new().with_config(json!({"language": "en"}));
        let error = bus.start::<Wrong>().err().unwrap();
        assert!(
            error
                .message()
                .starts_with("json: [config] is not what was expected: "),
            "{error}"
        );
    }

    #[test]
    fn outside_a_bus_there_is_nothing_to_know() {
        assert_eq!(agent_id(), "");
        assert_eq!(config::<Value>().unwrap(), json!({}));
        assert_eq!(remaining(), Duration::ZERO);
    }
}

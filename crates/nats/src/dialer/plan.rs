//! Decisions before the first attempt to connect: addresses, TLS, and whether servers that a server
//! announces are used.
//!
//! Credentials never travel in plaintext to a server that is not on loopback, unless `plaintext`
//! allows it. Without TLS an announced server could otherwise lead from loopback to plaintext
//! elsewhere.

use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions};
use mistersmith_core::config::TlsSpec;

use super::login;
use crate::address::{Address, without_login};
use crate::{ConnectSpec, TransportError};

/// The decisions before the first attempt.
pub(super) struct Plan {
    pub(super) urls: Vec<String>,
    /// For errors.
    shown: String,
    pub(super) require_tls: bool,
    /// Use servers that a server announces: not when that could lead from loopback to plaintext
    /// elsewhere.
    pub(super) discover: bool,
    pub(super) login: Option<login::UrlLogin>,
}

impl Plan {
    pub(super) fn new(spec: &ConnectSpec) -> Result<Self, TransportError> {
        let addresses = spec
            .servers
            .iter()
            .map(|server| Address::parse(server))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(first) = addresses.first() else {
            return Err(TransportError::Invalid(
                "no NATS server is named".to_owned(),
            ));
        };
        let elsewhere = addresses.iter().any(|address| !address.loopback);
        let require_tls = spec.tls.is_some()
            || addresses.iter().any(|address| address.tls)
            || (elsewhere && !spec.plaintext);
        Ok(Self {
            urls: addresses
                .iter()
                .map(|address| address.url.clone())
                .collect(),
            shown: spec
                .servers
                .iter()
                .map(|server| without_login(server))
                .collect::<Vec<_>>()
                .join(", "),
            require_tls,
            discover: require_tls || spec.plaintext,
            login: first.login.clone(),
        })
    }
}

/// Adds the files for TLS, after it has seen that each can be read.
pub(super) async fn tls(
    mut options: ConnectOptions,
    files: Option<&TlsSpec>,
) -> Result<ConnectOptions, TransportError> {
    let Some(files) = files else {
        return Ok(options);
    };
    for file in [&files.ca, &files.cert, &files.key].into_iter().flatten() {
        login::file(file, "TLS file").await?;
    }
    if let Some(ca) = &files.ca {
        options = options.add_root_certificates(ca.clone());
    }
    match (&files.cert, &files.key) {
        (Some(cert), Some(key)) => Ok(options.add_client_certificate(cert.clone(), key.clone())),
        (None, None) => Ok(options),
        _ => Err(TransportError::Invalid(
            "a TLS client certificate needs both `cert` and `key`".to_owned(),
        )),
    }
}

/// Whether to try again is of no use: the server refuses the credentials.
pub(super) fn is_final(error: &ConnectError) -> bool {
    matches!(
        error.kind(),
        ConnectErrorKind::AuthorizationViolation
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::ServerParse
    ) || error
        .to_string()
        .to_lowercase()
        .contains("authentication expired")
}

/// An error to connect, as a sentence with the fix. The library's own texts hold no credentials.
pub(super) fn explain(error: &ConnectError, plan: &Plan) -> String {
    let shown = &plan.shown;
    let detail =
        std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => format!(
            "the NATS server at {shown} refuses the credentials; \
             fix: check [nats] user and password, nkey or credentials, or the environment variable NATS_CREDS"
        ),
        _ if is_final(error) => format!(
            "the credentials for the NATS server at {shown} have expired; fix: put new ones into the credentials file"
        ),
        ConnectErrorKind::TimedOut => format!("the NATS server at {shown} does not answer"),
        ConnectErrorKind::Dns => {
            format!("the name of the NATS server at {shown} is not known: {detail}")
        }
        _ if plan.require_tls => {
            format!("cannot connect to the NATS server at {shown} by TLS: {detail}")
        }
        _ => format!("cannot connect to the NATS server at {shown}: {detail}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(servers: &[&str], plaintext: bool) -> ConnectSpec {
        let servers = servers.iter().map(ToString::to_string).collect();
        ConnectSpec {
            plaintext,
            ..ConnectSpec::open(servers, "test")
        }
    }

    #[test]
    fn plaintext_stays_on_loopback() {
        for (servers, plaintext, require_tls, discover) in [
            (&["127.0.0.1"][..], false, false, false),
            (&["127.0.0.1"], true, false, true),
            (&["10.0.0.1"], false, true, true),
            (&["10.0.0.1"], true, false, true),
            (&["localhost", "10.0.0.1"], false, true, true),
            (&["tls://localhost"], false, true, true),
        ] {
            let plan = Plan::new(&spec(servers, plaintext)).unwrap();
            assert_eq!(
                (plan.require_tls, plan.discover),
                (require_tls, discover),
                "{servers:?} {plaintext}"
            );
        }
    }
}

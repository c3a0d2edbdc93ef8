//! The login of a client, from the secrets that the files hold at this moment.
//!
//! No secret is logged, and none is kept between two attempts to connect.

use std::path::Path;
use std::sync::Arc;

use async_nats::{AuthError, ConnectOptions};
use nkeys::KeyPair;

use crate::TransportError;
use crate::health::Health;
use mistersmith_core::config::Auth;
use mistersmith_core::{files, limits};

/// User and password, or a token alone, out of the URL of a server.
pub(super) type UrlLogin = (String, Option<String>);

/// The secret of a login.
pub(super) enum Secret {
    None,
    Token(String),
    UserPassword(String, String),
    /// A user JWT and its key.
    Jwt(String, KeyPair),
    Nkey(KeyPair),
}

/// Options that read the secrets at each attempt to connect.
pub(super) fn options(auth: &Auth, url: Option<&UrlLogin>, health: &Arc<Health>) -> ConnectOptions {
    let (auth, url, health) = (auth.clone(), url.cloned(), Arc::clone(health));
    ConnectOptions::with_auth_callback(move |nonce| {
        let (auth, url, health) = (auth.clone(), url.clone(), Arc::clone(&health));
        async move {
            let answer = read(&auth, url.as_ref())
                .await
                .and_then(|secret| secret.answer(&nonce));
            answer.map_err(|error| {
                health.warn_not_connected(&error);
                AuthError::new(error)
            })
        }
    })
}

/// Reads the secrets.
///
/// Errors: `Denied`, with the file and what is wrong with it.
pub(super) async fn read(auth: &Auth, url: Option<&UrlLogin>) -> Result<Secret, TransportError> {
    match auth {
        Auth::None => Ok(match url.cloned() {
            Some((user, Some(password))) => Secret::UserPassword(user, password),
            Some((token, None)) => Secret::Token(token),
            None => Secret::None,
        }),
        Auth::UserPassword { user, password } => {
            Ok(Secret::UserPassword(user.clone(), password.clone()))
        }
        Auth::Credentials(path) => {
            let text = file(path, "credentials file").await?;
            credentials(&text).ok_or_else(|| {
                TransportError::Denied(format!(
                    "the credentials file {} has no user JWT with its seed",
                    path.display()
                ))
            })
        }
        Auth::Nkey(path) => {
            let text = file(path, "nkey seed file").await?;
            let mut lines = text.lines().map(str::trim);
            let seed = lines.find(|line| line.starts_with("SU"));
            let key = seed.and_then(|seed| KeyPair::from_seed(seed).ok());
            key.map(Secret::Nkey).ok_or_else(|| {
                TransportError::Denied(format!(
                    "the nkey file {} has no line with a user seed (`SU…`)",
                    path.display()
                ))
            })
        }
    }
}

/// The text of a file.
pub(super) async fn file(path: &Path, kind: &str) -> Result<String, TransportError> {
    let cannot = |error: &dyn std::fmt::Display| {
        TransportError::Denied(format!(
            "cannot read the {kind} {}: {error}",
            path.display()
        ))
    };
    let file = path.to_owned();
    // A thread that may wait for a slow disk.
    let reading =
        tokio::task::spawn_blocking(move || files::read_text(&file, limits::MAX_SMALL_FILE));
    let read = reading.await.map_err(|error| cannot(&error))?;
    read.map_err(|error| cannot(&error))
}

/// The JWT and the seed of a credentials file: each stands below a line of dashes that begins it.
fn credentials(text: &str) -> Option<Secret> {
    let mut lines = text.lines().map(str::trim);
    let mut below = |title: &str| {
        lines.find(|line| line.starts_with("---") && line.contains(title))?;
        lines.find(|line| !line.is_empty())
    };
    let jwt = below("BEGIN NATS USER JWT")?.to_owned();
    let seed = below("BEGIN USER NKEY SEED")?;
    let key = KeyPair::from_seed(seed).ok()?;
    (!jwt.starts_with('-')).then_some(Secret::Jwt(jwt, key))
}

impl Secret {
    /// The login for a server that has sent this nonce.
    fn answer(self, nonce: &[u8]) -> Result<async_nats::Auth, TransportError> {
        let sign = |key: &KeyPair| {
            let signed = key.sign(nonce);
            signed.map_err(|error| TransportError::Denied(format!("the key cannot sign: {error}")))
        };
        let mut auth = async_nats::Auth::new();
        match self {
            Self::None => {}
            Self::Token(token) => auth.token = Some(token),
            Self::UserPassword(user, password) => {
                auth.username = Some(user);
                auth.password = Some(password);
            }
            Self::Jwt(jwt, key) => {
                auth.signature = Some(sign(&key)?);
                auth.jwt = Some(jwt);
            }
            Self::Nkey(key) => {
                auth.signature = Some(sign(&key)?);
                auth.nkey = Some(key.public_key());
            }
        }
        Ok(auth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credentials_file_has_a_token_and_a_key() {
        let seed = KeyPair::new_user().seed().unwrap_or_default();
        let file = |jwt: &str, seed: &str| {
            format!(
                "-----BEGIN NATS USER JWT-----\r\n{jwt}\r\n------END NATS USER JWT------\r\n\r\n\
                 ************ IMPORTANT ************\r\n\r\n\
                 -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
            )
        };
        let read = credentials(&file("eyJ0.eyJq.x_-y", &seed));
        assert!(matches!(read, Some(Secret::Jwt(jwt, _)) if jwt == "eyJ0.eyJq.x_-y"));
        for bad in [
            file("", &seed),
            file("eyJ0.eyJq.xy", "SUNO"),
            file("eyJ0.eyJq.xy", ""),
            seed,
            String::new(),
        ] {
            assert!(credentials(&bad).is_none(), "{bad}");
        }
    }
}

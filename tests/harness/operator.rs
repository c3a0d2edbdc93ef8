//! Users with credentials files: an operator, an account, and signed tokens of its users.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// An operator that signs users. Its servers accept the users of no other operator.
pub struct Operator {
    account: KeyPair,
    lines: String,
}

impl Operator {
    /// A new operator with an account that has JetStream.
    pub fn generate() -> Self {
        let (operator, system, account) = (
            KeyPair::new_operator(),
            KeyPair::new_account(),
            KeyPair::new_account(),
        );
        let own = json!({"type": "operator", "version": 2, "system_account": system.public_key()});
        let everything = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let limited = |limits: &Value| json!({"type": "account", "version": 2, "limits": limits});
        let nothing = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1,
        });
        let lines = format!(
            "operator: {}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{ {}: {}, {}: {} }}",
            token(&operator, &operator.public_key(), &own),
            system.public_key(),
            system.public_key(),
            token(&operator, &system.public_key(), &limited(&nothing)),
            account.public_key(),
            token(&operator, &account.public_key(), &limited(&everything)),
        );
        Self { account, lines }
    }

    /// Server configuration that makes a server accept its users.
    pub fn lines(&self) -> &str {
        &self.lines
    }

    /// The credentials file of a new user; `permissions` is `{"pub": {"allow": […]}, "sub": …}`.
    pub fn credentials(&self, permissions: Value) -> String {
        self.credentials_until(permissions, None)
    }

    /// The credentials file of a new user that expires at `until`, in seconds since 1970.
    pub fn credentials_until(&self, permissions: Value, until: Option<u64>) -> String {
        let user = KeyPair::new_user();
        let mut claims = json!({
            "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
            "pub": {}, "sub": {},
        });
        if let (Some(claims), Value::Object(permissions)) = (claims.as_object_mut(), permissions) {
            claims.extend(permissions);
        }
        let token = token_until(&self.account, &user.public_key(), &claims, until);
        let seed = user.seed().expect("the seed of a new key");
        format!(
            "-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    }
}

fn token(issuer: &KeyPair, subject: &str, nats: &Value) -> String {
    token_until(issuer, subject, nats, None)
}

fn token_until(issuer: &KeyPair, subject: &str, nats: &Value, until: Option<u64>) -> String {
    let mut claims = json!({
        "jti": subject, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": subject,
        "sub": subject, "nats": nats,
    });
    if let Some(until) = until {
        claims["exp"] = json!(until);
    }
    let header = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;
    let signed = format!(
        "{}.{}",
        BASE64.encode(header),
        BASE64.encode(claims.to_string())
    );
    let signature = issuer.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", BASE64.encode(signature))
}

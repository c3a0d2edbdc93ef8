//! Addresses of servers: parsed once, separated from their credentials. Pure.
//!
//! An error or a log line shows an address without its login; otherwise a password in a URL would
//! end up in the log.

use async_nats::ServerAddr;

use super::TransportError;

/// A server's address without the credentials that its URL may carry.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `nats://host:port` or `tls://host:port`.
    pub(super) url: String,
    pub(super) loopback: bool,
    pub(super) tls: bool,
    /// User and password of `nats://user:password@host`, or user alone: a token.
    pub(super) login: Option<(String, Option<String>)>,
}

impl Address {
    /// Reads `host`, `host:port`, or a URL. Errors never quote the credentials.
    pub(super) fn parse(text: &str) -> Result<Self, TransportError> {
        let shown = without_login(text);
        let refused = |why: &str| {
            TransportError::Invalid(format!(
                "{shown:?} is not the address of a NATS server: {why}; write it like \"nats://127.0.0.1:4222\""
            ))
        };
        let server = text
            .trim()
            .parse::<ServerAddr>()
            .map_err(|_| refused("it is no URL with the scheme `nats` or `tls`"))?;
        if !matches!(server.scheme(), "nats" | "tls") {
            return Err(refused("the scheme is neither `nats` nor `tls`"));
        }
        if server.host().is_empty() {
            return Err(refused("it has no host"));
        }
        let decoded = |part: &str| {
            percent_decoded(part).ok_or_else(|| refused("the credentials in it are malformed"))
        };
        let login = match server.username() {
            Some(user) => Some((decoded(user)?, server.password().map(decoded).transpose()?)),
            None => None,
        };
        let host = server.host();
        let bracketed = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        Ok(Self {
            url: format!("{}://{bracketed}:{}", server.scheme(), server.port()),
            loopback: is_loopback(host),
            tls: server.tls_required(),
            login,
        })
    }
}

/// An address for logs and errors: what stands between `//` and `@` is replaced.
pub(super) fn without_login(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((login, rest)) => {
            let scheme = login.split_once("://").map_or("", |(scheme, _)| scheme);
            if scheme.is_empty() {
                format!("…@{rest}")
            } else {
                format!("{scheme}://…@{rest}")
            }
        }
        None => text.to_owned(),
    }
}

/// Whether a host name or address is this machine's own loopback.
fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_lose_their_credentials() {
        let address = Address::parse("nats://de%40rek:s3%2Fcr3t@example.com:4333").unwrap();
        assert_eq!(address.url, "nats://example.com:4333");
        assert_eq!(
            address.login,
            Some(("de@rek".into(), Some("s3/cr3t".into())))
        );
        assert!(!address.loopback && !address.tls);
        assert_eq!(
            Address::parse("nats://t0ken@127.0.0.1").unwrap().login,
            Some(("t0ken".into(), None))
        );
    }

    #[test]
    fn loopback_is_told_apart() {
        for (text, loopback) in [
            ("localhost", true),
            ("127.0.0.1:4222", true),
            ("127.8.8.8", true),
            ("nats://[::1]:4222", true),
            ("10.0.0.1", false),
            ("localhost.example.com", false),
            ("tls://nats.example.com", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().loopback, loopback, "{text}");
        }
    }

    #[test]
    fn a_refused_address_does_not_show_its_password() {
        for bad in [
            "ws://u:hunter2@x",
            "http://u:hunter2@x",
            "nats://u:hunter2@",
            "",
            "nats://",
        ] {
            let message = Address::parse(bad).err().unwrap().to_string();
            assert!(!message.contains("hunter2"), "{message}");
        }
        assert_eq!(without_login("nats://u:p@ss@host:1"), "nats://…@host:1");
    }
}

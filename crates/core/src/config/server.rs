//! The URL of a NATS server: taken apart, with user and password out of it.

use std::net::IpAddr;

use super::Auth;

/// A server, and who the host is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// `scheme://host:port`, without user and password.
    pub(super) url: String,
    /// The user and password that were in it.
    pub(super) login: Option<Auth>,
}

/// Reads `[nats|tls]://[user:password@]host[:port]`. The sentence of a failure shows nothing of a
/// password.
pub(super) fn parse(text: &str) -> Result<Server, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("nats", text));
    if !matches!(scheme, "nats" | "tls") {
        return Err(format!(
            "{scheme:?} is no scheme of a server: nats and tls are"
        ));
    }
    let (login, address) = match rest.rsplit_once('@') {
        Some((login, address)) => (Some(login), address),
        None => (None, rest),
    };
    let address = address.strip_suffix('/').unwrap_or(address);
    let (host, port) = host_and_port(address).ok_or("it is no address of a server")?;
    let shown = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    Ok(Server {
        url: format!("{scheme}://{shown}:{port}"),
        login: login.map(parse_login).transpose()?,
    })
}

fn parse_login(login: &str) -> Result<Auth, String> {
    let missing = "it has a user without a password; a token alone is not supported";
    let (user, password) = login.split_once(':').ok_or(missing)?;
    let decode = |text| decoded(text).ok_or("its user or password is wrongly escaped");
    Ok(Auth::UserPassword {
        user: decode(user)?,
        password: decode(password)?,
    })
}

/// Host without brackets, and port; 4222 where none is written.
fn host_and_port(address: &str) -> Option<(&str, u16)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (
                host,
                rest.strip_prefix(':')
                    .or(rest.is_empty().then_some("4222"))?,
            )
        }
        None => address.split_once(':').unwrap_or((address, "4222")),
    };
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':');
    let named = !host.is_empty() && host.bytes().all(allowed);
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse().ok().filter(|_| digits && named)?;
    Some((host, port))
}

/// Undoes `%40` and the like.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Does a connection to this parsed URL cross a network unencrypted?
pub(super) fn is_open(url: &str) -> bool {
    let Some(address) = url.strip_prefix("nats://") else {
        return false;
    };
    let host = host_and_port(address).map_or(address, |(host, _)| host);
    let local = host
        .parse::<IpAddr>()
        .map_or(host == "localhost", |ip| ip.is_loopback());
    !local
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses() {
        for (text, url) in [
            ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
            ("127.0.0.1", "nats://127.0.0.1:4222"),
            ("localhost:5000", "nats://localhost:5000"),
            ("tls://nats.example.org", "tls://nats.example.org:4222"),
            ("nats://[::1]:4222/", "nats://[::1]:4222"),
            ("nats://[::1]", "nats://[::1]:4222"),
        ] {
            assert_eq!(
                parse(text).unwrap(),
                Server {
                    url: url.to_owned(),
                    login: None
                },
                "{text}"
            );
        }
        for text in [
            "",
            "http://x",
            "nats://",
            "nats://x:99999",
            "nats://x:",
            "nats://a b",
            "nats://x/y",
            "nats://[::1",
            "nats://[x]:1",
            "nats://::1",
            "nats://x:+1",
            "nats://token@x",
            "nats://a:%zz@x",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn logins_leave_the_url() {
        let server = parse("nats://me:p%40ss:word@host:4222").unwrap();
        let login = Auth::UserPassword {
            user: "me".to_owned(),
            password: "p@ss:word".to_owned(),
        };
        assert_eq!(
            server,
            Server {
                url: "nats://host:4222".to_owned(),
                login: Some(login)
            }
        );
    }

    #[test]
    fn only_loopback_needs_no_encryption() {
        for url in [
            "nats://127.0.0.1:4222",
            "nats://127.9.9.9:1",
            "nats://localhost:4222",
            "nats://[::1]:1",
            "tls://x:1",
        ] {
            assert!(!is_open(url), "{url}");
        }
        for url in [
            "nats://10.0.0.1:4222",
            "nats://example.org:4222",
            "nats://[2001:db8::1]:1",
            "nats://localhost.evil:1",
        ] {
            assert!(is_open(url), "{url}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_and_no_password_stays(text in any::<String>()) {
            if let Ok(server) = parse(&text) {
                prop_assert!(!server.url.contains('@'));
                prop_assert_eq!(parse(&server.url).unwrap().url, server.url);
            }
        }
    }
}

//! Opening a connection: credentials, TLS, the first attempts, and what the client library reports later.
//!
//! Never logs a credential, and never sends one in plaintext to a server that is not on loopback, unless allowed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, ConnectErrorKind, ConnectOptions};
use rand::Rng as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::address::{Address, without_login};
use super::health::Health;
use super::link::Inner;
use super::replies::Replies;
use super::{Link, TransportError};
use crate::{files, limits};

/// How often an idle connection is checked. Two unanswered checks break it: a dead server is noticed in half a minute.
const PING: Duration = Duration::from_secs(10);
/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Messages that the client library queues for one subscription before it drops. Its task reads up to 8 MiB
/// (128 times 64 KiB) before another task has its turn: as many small messages have room here. It costs
/// nothing while they are not there, and our own tasks move them on, to where bytes are counted.
const SUBSCRIPTION_CAPACITY: usize = 262_144;
/// Commands that the client library queues for the socket before a publish waits.
const SEND_CAPACITY: usize = 2_048;
/// Longest pause between two attempts to connect.
const MAX_PAUSE: Duration = Duration::from_secs(4);
/// How often the same failure to connect is logged again.
const REPEAT_LOG: Duration = Duration::from_secs(15);

/// What it takes to connect.
#[derive(Clone)]
pub struct ConnectSpec {
    /// Addresses of servers of one system: `host`, `host:port`, `nats://…` or `tls://…`. At least one.
    pub servers: Vec<String>,
    /// Who we are. Credentials inside the first server's URL count only with [`Auth::None`].
    pub auth: Auth,
    /// Files for TLS; none for the machine's own certificates, used when the server or the URL asks for TLS.
    pub tls: Option<TlsFiles>,
    /// Allow plaintext to servers that are not on loopback. Otherwise TLS is required of them.
    pub plaintext: bool,
    /// The name of this host: connections are called `mistersmith-<host>-<role>`.
    pub host: String,
    /// How long to go on trying when no server answers; none for ever.
    pub patience: Option<Duration>,
}

/// How to log in.
#[derive(Clone, Default)]
pub enum Auth {
    /// Not at all, or as the URL says.
    #[default]
    None,
    /// With a credentials file (JWT and seed).
    Credentials(PathBuf),
    /// With a file that holds the seed of an nkey.
    Nkey(PathBuf),
    /// With user and password.
    UserPassword {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
}

/// Files for TLS, each in PEM format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities to trust; none for the machine's own.
    pub ca: Option<PathBuf>,
    /// The client's certificate; needs `key`.
    pub cert: Option<PathBuf>,
    /// The client's key; needs `cert`.
    pub key: Option<PathBuf>,
}

/// Connects, trying again while no server answers. Credentials that a server refuses end it at once.
pub(super) async fn open(
    spec: &ConnectSpec,
    name: String,
    changed: watch::Sender<u64>,
    ended: CancellationToken,
) -> Result<Link, TransportError> {
    let plan = Plan::new(spec)?;
    let health = Arc::new(Health::new(&name, changed, ended));
    let client = first_connection(spec, &plan, &name, &health).await?;
    let (replies, answers) = Replies::listen(&client, &health).await?;
    let _ = health.replies.set(Arc::downgrade(&replies));
    Ok(Link {
        inner: Arc::new(Inner {
            client,
            replies,
            health,
            claim_over: AtomicUsize::new(usize::MAX),
            answers,
        }),
    })
}

async fn first_connection(
    spec: &ConnectSpec,
    plan: &Plan,
    name: &str,
    health: &Arc<Health>,
) -> Result<Client, TransportError> {
    let start = Instant::now();
    let mut logged: Option<(String, Instant)> = None;
    for attempt in 1.. {
        let options = options(spec, plan, name, health).await?;
        let error = match options.connect(plan.urls.as_slice()).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        let text = explain(&error, plan);
        if is_final(&error) {
            return Err(TransportError::Denied(text));
        }
        if spec
            .patience
            .is_some_and(|patience| start.elapsed() >= patience)
        {
            return Err(TransportError::Unavailable(text));
        }
        if logged
            .as_ref()
            .is_none_or(|(before, at)| *before != text || at.elapsed() >= REPEAT_LOG)
        {
            tracing::warn!(connection = name, "{text}; trying again");
            logged = Some((text, Instant::now()));
        }
        tokio::time::sleep(pause(attempt)).await;
    }
    Err(TransportError::disconnected())
}

/// What is decided before the first attempt.
struct Plan {
    urls: Vec<String>,
    /// For errors.
    shown: String,
    require_tls: bool,
    /// Take servers that others tell of: not when that could lead from loopback to plaintext elsewhere.
    discover: bool,
    login: Option<(String, Option<String>)>,
}

impl Plan {
    fn new(spec: &ConnectSpec) -> Result<Self, TransportError> {
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

async fn options(
    spec: &ConnectSpec,
    plan: &Plan,
    name: &str,
    health: &Arc<Health>,
) -> Result<ConnectOptions, TransportError> {
    let heard = Arc::clone(health);
    let mut options = ConnectOptions::new()
        .name(name)
        .custom_inbox_prefix(format!("_INBOX.{}", nuid::next()))
        .ping_interval(PING)
        .connection_timeout(ATTEMPT)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(SEND_CAPACITY)
        .read_buffer_capacity(u16::MAX)
        .max_reconnects(None)
        .reconnect_delay_callback(pauses())
        .require_tls(plan.require_tls)
        .event_callback(move |event| {
            let heard = Arc::clone(&heard);
            async move { heard.hear(&event) }
        });
    if !plan.discover {
        options = options.ignore_discovered_servers();
    }
    options = tls(options, spec.tls.as_ref()).await?;
    login(options, &spec.auth, plan).await
}

async fn tls(
    mut options: ConnectOptions,
    files: Option<&TlsFiles>,
) -> Result<ConnectOptions, TransportError> {
    let Some(files) = files else {
        return Ok(options);
    };
    for file in [&files.ca, &files.cert, &files.key].into_iter().flatten() {
        read(file, "TLS file").await?;
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

async fn login(
    options: ConnectOptions,
    auth: &Auth,
    plan: &Plan,
) -> Result<ConnectOptions, TransportError> {
    match auth {
        Auth::None => Ok(match plan.login.clone() {
            Some((user, Some(password))) => options.user_and_password(user, password),
            Some((token, None)) => options.token(token),
            None => options,
        }),
        Auth::UserPassword { user, password } => {
            Ok(options.user_and_password(user.clone(), password.clone()))
        }
        Auth::Credentials(path) => {
            let text = read(path, "credentials file").await?;
            options.credentials(&text).map_err(|_| {
                TransportError::Denied(format!(
                    "the credentials file {} has no user JWT with its seed",
                    path.display()
                ))
            })
        }
        Auth::Nkey(path) => {
            let text = read(path, "nkey seed file").await?;
            let seed = text
                .lines()
                .map(str::trim)
                .find(|line| line.starts_with("SU"));
            seed.map(|seed| options.nkey(seed.to_owned()))
                .ok_or_else(|| {
                    TransportError::Denied(format!(
                        "the nkey file {} has no line with a user seed (`SU…`)",
                        path.display()
                    ))
                })
        }
    }
}

async fn read(path: &std::path::Path, kind: &str) -> Result<String, TransportError> {
    let cannot = |error: &dyn std::fmt::Display| {
        TransportError::Denied(format!(
            "cannot read the {kind} {}: {error}",
            path.display()
        ))
    };
    let bytes = files::read_aside(path, None, limits::MAX_SMALL_FILE).await;
    let text = String::from_utf8(bytes.map_err(|error| cannot(&error))?);
    text.map_err(|error| cannot(&error))
}

/// The pauses before the attempts of one connection: none before its very first.
fn pauses() -> impl Fn(usize) -> Duration + Send + Sync + 'static {
    let begun = AtomicBool::new(false);
    move |attempt| match begun.swap(true, Ordering::Relaxed) {
        false => Duration::ZERO,
        true => pause(attempt),
    }
}

/// The pause before an attempt: doubling from 100 ms, with jitter so that many hosts do not come at once.
fn pause(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1))
        .unwrap_or(u32::MAX)
        .min(8);
    let most = (Duration::from_millis(100) * 2u32.pow(doublings)).min(MAX_PAUSE);
    most.mul_f64(rand::rng().random_range(0.5..1.0))
}

fn is_final(error: &async_nats::ConnectError) -> bool {
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
fn explain(error: &async_nats::ConnectError, plan: &Plan) -> String {
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
        ConnectSpec {
            servers: servers.iter().map(ToString::to_string).collect(),
            auth: Auth::None,
            tls: None,
            plaintext,
            host: "test".into(),
            patience: None,
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

    #[test]
    fn only_the_very_first_attempt_begins_at_once() {
        let pause = pauses();
        assert_eq!(pause(1), Duration::ZERO);
        assert!(pause(1) > Duration::ZERO, "after a break");
    }

    #[test]
    fn pauses_grow_to_their_bound() {
        assert!(pause(1) <= Duration::from_millis(100));
        for attempt in [0, 5, 50, usize::MAX] {
            assert!(pause(attempt) <= MAX_PAUSE);
        }
    }
}

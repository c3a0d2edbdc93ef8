//! Options of a test server, and of the test's own connection to it.

use std::path::{Path, PathBuf};

use async_nats::ConnectOptions;

use crate::outside::Outside;

/// Options of a test server.
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    pub(super) lines: Vec<String>,
    pub(super) without_jetstream: bool,
    pub(super) domain: Option<String>,
    login: Option<(String, String)>,
    credentials: Option<String>,
    ca: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    pub(super) tapped: bool,
}

impl NatsOptions {
    /// Adds a line of the server's configuration.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    pub fn without_jetstream(mut self) -> Self {
        self.without_jetstream = true;
        self
    }

    /// Sets the domain of its JetStream.
    pub fn domain(mut self, name: &str) -> Self {
        self.domain = Some(name.to_owned());
        self
    }

    /// Sets the only user.
    pub fn user(self, user: &str, password: &str) -> Self {
        let line = format!("authorization {{ user: \"{user}\", password: \"{password}\" }}");
        self.line(&line).with_user(user, password)
    }

    /// Sets the user of the test itself; the configuration lines must admit it.
    pub fn with_user(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Sets the text of the test's own credentials file.
    pub fn credentials(mut self, text: &str) -> Self {
        self.credentials = Some(text.to_owned());
        self
    }

    /// Connects the test itself by TLS, with this certificate authority.
    pub fn trusting(mut self, ca: &Path) -> Self {
        self.ca = Some(ca.to_owned());
        self
    }

    /// Sets the certificate of the test itself, and its key.
    pub fn identified_by(mut self, cert: &Path, key: &Path) -> Self {
        self.identity = Some((cert.to_owned(), key.to_owned()));
        self
    }

    /// Records the permissions that the server denies, except to the test itself.
    pub fn tapped(mut self) -> Self {
        self.tapped = true;
        self
    }

    /// Another client of these servers.
    pub(super) async fn connect(&self, urls: &[String]) -> Outside {
        let mut options = ConnectOptions::new()
            .name("outside")
            .retry_on_initial_connect()
            .reconnect_delay_callback(|_| std::time::Duration::from_millis(50));
        if let Some((user, password)) = &self.login {
            options = options.user_and_password(user.clone(), password.clone());
        }
        if let Some(credentials) = &self.credentials {
            options = options.credentials(credentials).expect("credentials");
        }
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let Some((cert, key)) = &self.identity {
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        Outside::connect(options, urls).await
    }
}

//! From `[nats]` to a connection: what configuration says, in the words of transport.

use crate::config::{Auth, NatsSpec};
use crate::transport::server::Places;
use crate::transport::{self, ConnectSpec, TlsFiles};

impl NatsSpec {
    /// What transport needs to know; connections are called `mistersmith-<name>-<role>`. It goes on
    /// trying for ever when no server answers: a host may be started before its server.
    pub fn connect_spec(&self, name: &str) -> ConnectSpec {
        let auth = match &self.auth {
            Auth::None => transport::Auth::None,
            Auth::Credentials(file) => transport::Auth::Credentials(file.clone()),
            Auth::Nkey(file) => transport::Auth::Nkey(file.clone()),
            Auth::UserPassword { user, password } => transport::Auth::UserPassword {
                user: user.clone(),
                password: password.clone(),
            },
        };
        let tls = self.tls.as_ref().map(|tls| TlsFiles {
            ca: tls.ca.clone(),
            cert: tls.cert.clone(),
            key: tls.key.clone(),
        });
        ConnectSpec {
            servers: self.servers.clone(),
            auth,
            tls,
            plaintext: self.plaintext,
            host: name.to_owned(),
            patience: None,
        }
    }

    /// Where to look for the program of a server of the host's own.
    pub fn places(&self) -> Places {
        Places {
            named: self.program.clone(),
            beside: self.beside.clone(),
            path: self.path.clone(),
        }
    }
}

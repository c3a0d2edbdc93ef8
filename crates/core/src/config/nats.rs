//! `[nats]`: the servers, and the credentials of the host.

use std::path::{Path, PathBuf};

use super::environment::HostEnv;
use super::item::Item;
use super::section::Section;
use super::server::{self, Server};
use super::{Auth, Finding, Findings, NatsSpec, TlsSpec, files};
use crate::limits::{MAX_ENTRIES, MAX_LABEL};

/// Reads the section.
pub(super) fn read(section: &Section<'_>, base: &Path) -> NatsSpec {
    let mut spec = NatsSpec::default();
    let mut found = Vec::new();
    if let Some(list) = section.get("servers") {
        for item in list.items("[\"nats://127.0.0.1:4222\"]", MAX_ENTRIES) {
            found.extend(one_server(&item));
        }
    }
    let written = auth(section, base);
    let in_url = found.iter().find_map(|server| server.login.clone());
    if written.is_some() && in_url.is_some() {
        section.note(
            "a server and [nats] both say who the host is",
            "keep one of them",
        );
    }
    spec.servers = found.into_iter().map(|server| server.url).collect();
    spec.auth = written.or(in_url).unwrap_or_default();
    spec.tls = section.section("tls").map(|section| tls(&section, base));
    spec.plaintext = section
        .get("plaintext")
        .and_then(|item| item.boolean())
        .unwrap_or_default();
    spec.program = section
        .get("program")
        .and_then(|item| files::existing(&item, base, "\"/opt/nats/nats-server\""));
    section.close();
    spec
}

fn one_server(item: &Item<'_>) -> Option<Server> {
    match server::parse(item.text("\"nats://127.0.0.1:4222\"")?) {
        Ok(server) => Some(server),
        Err(problem) => {
            // The value is not shown: it may hold a password.
            item.note(problem, "write it like \"nats://127.0.0.1:4222\"");
            None
        }
    }
}

/// The one way to authenticate; more than one is a mistake.
fn auth(section: &Section<'_>, base: &Path) -> Option<Auth> {
    let file = |key, example| {
        section
            .get(key)
            .map(|item| files::existing(&item, base, example))
    };
    let credentials = file("credentials", "\"host.creds\"");
    let nkey = file("nkey", "\"host.nk\"");
    let user = section
        .get("user")
        .map(|item| item.line(MAX_LABEL, "\"smith\""));
    let password = section.get("password").map(|item| secret(&item));
    let login = user.is_some() || password.is_some();
    if user.is_some() != password.is_some() {
        section.note(
            "a user needs a password, and a password a user",
            "write both, or none of them",
        );
    }
    let ways = [credentials.is_some(), nkey.is_some(), login];
    if ways.into_iter().filter(|way| *way).count() > 1 {
        section.note(
            "credentials, nkey, and user with password exclude each other",
            "keep one of them",
        );
    }
    let credentials = credentials.flatten().map(Auth::Credentials);
    let nkey = nkey.flatten().map(Auth::Nkey);
    let login = user.flatten().zip(password.flatten());
    let login = login.map(|(user, password)| Auth::UserPassword { user, password });
    credentials.or(nkey).or(login)
}

/// A password: never shown.
fn secret(item: &Item<'_>) -> Option<String> {
    let text = item.value.as_str().filter(|text| !text.is_empty());
    if text.is_none() {
        item.note(
            "the password is not a text, or empty",
            "write it like \"…\"",
        );
    }
    text.map(str::to_owned)
}

fn tls(section: &Section<'_>, base: &Path) -> TlsSpec {
    let file = |key, example| {
        section
            .get(key)
            .and_then(|item| files::existing(&item, base, example))
    };
    let (ca, cert, key) = (
        file("ca", "\"ca.pem\""),
        file("cert", "\"host.pem\""),
        file("key", "\"host-key.pem\""),
    );
    if cert.is_some() != key.is_some() {
        section.note(
            "a client certificate needs both cert and key",
            "write both, or none of them",
        );
    }
    section.close();
    TlsSpec { ca, cert, key }
}

/// Applies the environment over the values of the file.
pub(super) fn apply_environment(spec: &mut NatsSpec, env: &HostEnv) -> Findings {
    let mut findings = Vec::new();
    if let Some(urls) = env
        .nats_url
        .as_deref()
        .filter(|urls| !urls.trim().is_empty())
    {
        let mut servers = Vec::new();
        for url in urls.split(',') {
            match server::parse(url.trim()) {
                Ok(server) => servers.push(server),
                Err(problem) => findings.push(variable("NATS_URL", problem)),
            }
        }
        if let Some(login) = servers.iter().find_map(|server| server.login.clone()) {
            spec.auth = login;
        }
        spec.servers = servers.into_iter().map(|server| server.url).collect();
    }
    if let Some(file) = env
        .nats_creds
        .as_ref()
        .filter(|file| !file.as_os_str().is_empty())
    {
        if !file.is_file() {
            findings.push(variable(
                "NATS_CREDS",
                format!("there is no file {}", file.display()),
            ));
        }
        spec.auth = Auth::Credentials(file.clone());
    }
    if let Some(file) = &env.nats_server {
        if !file.is_file() {
            findings.push(variable(
                "MISTERSMITH_NATS_SERVER",
                format!("there is no file {}", file.display()),
            ));
        }
        spec.program = Some(file.clone());
    }
    spec.beside.clone_from(&env.program);
    spec.path.clone_from(&env.path);
    findings.into_iter().collect()
}

fn variable(name: &str, problem: String) -> Finding {
    Finding {
        file: PathBuf::from("environment"),
        line: 0,
        key: name.to_owned(),
        problem,
        fix: format!("correct or unset {name}"),
    }
}

/// Why these servers cannot be used without encryption, if any of them is on another machine.
pub(super) fn plaintext(spec: &NatsSpec) -> Option<String> {
    if spec.plaintext || spec.tls.is_some() {
        return None;
    }
    let open = spec.servers.iter().find(|url| server::is_open(url))?;
    Some(format!(
        "{open:?} is another machine, and nothing encrypts the connection"
    ))
}

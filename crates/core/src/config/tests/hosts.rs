//! `mistersmith.toml` and the environment.

use std::time::Duration;

use super::*;

fn host_folder(text: &str) -> TempDir {
    folder(&[
        ("mistersmith.toml", text),
        ("host.creds", ""),
        ("host.nk", ""),
        ("ca.pem", ""),
        ("host.pem", ""),
        ("host-key.pem", ""),
        ("nats-server", ""),
    ])
}

fn load(dir: &TempDir, env: &HostEnv) -> Result<HostSpec, Findings> {
    load_host(Some(&dir.path().join("mistersmith.toml")), env)
}

fn url(url: &str) -> HostEnv {
    HostEnv {
        nats_url: Some(url.to_owned()),
        ..HostEnv::default()
    }
}

#[test]
fn what_is_said_about_the_host() {
    for name in ["good", "mistakes", "plaintext"] {
        let dir = host_folder(&include_golden(&format!("host-{name}.toml")));
        let text = match load(&dir, &HostEnv::default()) {
            Ok(spec) => format!("{spec:#?}\n").replace(&format!("{}/", dir.path().display()), ""),
            Err(findings) => said(&findings, &dir),
        };
        golden(&format!("config/golden/host-{name}.txt"), &text);
        assert!(!text.contains("secret"), "a password is shown");
    }
}

#[test]
fn without_a_file_there_are_defaults() {
    let dir = host_folder("");
    let spec = load(&dir, &HostEnv::default()).unwrap();
    assert_eq!(spec.plugins, plugins(&dir));
    assert_eq!(spec.data, dir.path().join(".mistersmith"));
    assert_eq!((spec.heartbeat.as_secs(), spec.grace.as_secs()), (30, 30));
    assert!(spec.nats.servers.is_empty() && spec.nats.auth == Auth::None);
    let missing = load_host(Some(&dir.path().join("none.toml")), &HostEnv::default()).unwrap_err();
    assert!(
        said(&missing, &dir).starts_with("none.toml: it cannot be read"),
        "{missing}"
    );
}

#[test]
fn a_domain_is_chosen_among_servers_that_are_named() {
    let dir = host_folder("[jetstream]\ndomain = \"hub\"\n");
    let findings = load(&dir, &HostEnv::default()).unwrap_err();
    assert!(
        said(&findings, &dir).contains("jetstream.domain: a domain is chosen among servers"),
        "{findings}"
    );
    let spec = load(&dir, &url("nats://127.0.0.1:4222")).unwrap();
    assert_eq!(spec.jetstream.domain.as_deref(), Some("hub"));
}

#[test]
fn the_environment_comes_first() {
    let dir =
        host_folder("[nats]\nservers = [\"nats://127.0.0.1:1\"]\nuser = \"a\"\npassword = \"b\"\n");
    let spec = load(&dir, &url("nats://me:hunter2@127.0.0.1:2, localhost:3")).unwrap();
    assert_eq!(
        spec.nats.servers,
        ["nats://127.0.0.1:2", "nats://localhost:3"]
    );
    assert!(matches!(&spec.nats.auth, Auth::UserPassword { user, .. } if user == "me"));
    assert!(
        !format!("{spec:?}").contains("hunter2"),
        "a password is shown"
    );
    let env = HostEnv {
        nats_url: Some(String::new()),
        nats_creds: Some(dir.path().join("host.creds")),
        ..HostEnv::default()
    };
    let spec = load(&dir, &env).unwrap();
    assert_eq!(spec.nats.servers, ["nats://127.0.0.1:1"]);
    assert_eq!(
        spec.nats.auth,
        Auth::Credentials(dir.path().join("host.creds"))
    );
}

#[test]
fn a_program_of_the_environment_comes_before_the_one_in_the_file() {
    let dir = host_folder("[nats]\nprogram = \"nats-server\"\n");
    let spec = load(&dir, &HostEnv::default()).unwrap();
    assert_eq!(spec.nats.program, Some(dir.path().join("nats-server")));
    let env = HostEnv {
        nats_server: Some(dir.path().join("mistersmith.toml")),
        program: Some(PathBuf::from("/opt/mistersmith")),
        path: vec![PathBuf::from("/opt/bin")],
        ..HostEnv::default()
    };
    let spec = load(&dir, &env).unwrap();
    assert_eq!(spec.nats.program, env.nats_server);
    assert_eq!((spec.nats.beside, spec.nats.path), (env.program, env.path));
}

#[test]
fn mistakes_in_the_environment_are_said_with_those_in_the_file() {
    let dir = host_folder("[hosts]\n");
    let env = HostEnv {
        nats_url: Some("ftp://me:secret@x".to_owned()),
        nats_creds: Some(dir.path().join("none.creds")),
        nats_server: Some(dir.path().join("none")),
        ..HostEnv::default()
    };
    let expected = "\
        environment: NATS_URL: \"ftp\" is no scheme of a server: nats and tls are; correct or unset NATS_URL\n\
        environment: NATS_CREDS: there is no file none.creds; correct or unset NATS_CREDS\n\
        environment: MISTERSMITH_NATS_SERVER: there is no file none; correct or unset MISTERSMITH_NATS_SERVER\n\
        mistersmith.toml:1: hosts: this key is not known; did you mean \"host\"?\n";
    let findings = load(&dir, &env).unwrap_err();
    let said = said(&findings, &dir);
    let mut lines: Vec<&str> = said.lines().collect();
    let mut expected: Vec<&str> = expected.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn states_outlive_two_heartbeats() {
    let text = "[host]\nheartbeat = \"2m\"\n[jetstream.buckets.AGENT_STATE]\nttl = \"3m\"\n";
    let dir = host_folder(text);
    let findings = load(&dir, &HostEnv::default()).unwrap_err();
    let expected = "mistersmith.toml:4: jetstream.buckets.AGENT_STATE.ttl: \"3m\" is less than \
                    two heartbeats; write \"4m\" or more\n";
    assert_eq!(said(&findings, &dir), expected);
}

#[test]
fn plaintext_off_loopback_must_be_wanted() {
    let dir = host_folder("");
    for wrong in ["nats://nats.example.org", "127.0.0.1,10.0.0.1"] {
        let findings = load(&dir, &url(wrong)).unwrap_err();
        assert!(
            findings
                .to_string()
                .contains("nothing encrypts the connection"),
            "{findings}"
        );
    }
    for fine in ["tls://nats.example.org", "127.0.0.1", "nats://[::1]:4222"] {
        load(&dir, &url(fine)).unwrap();
    }
    let wanted = host_folder("[nats]\nplaintext = true\n");
    load(&wanted, &url("nats://nats.example.org")).unwrap();
    let tls = host_folder("[nats.tls]\nca = \"ca.pem\"\n");
    load(&tls, &url("nats://nats.example.org")).unwrap();
}

#[test]
fn a_plugin_whose_calls_outlast_the_drain_is_told_so() {
    let dir = sentiment("[plugin]\nname = \"sentiment\"\n");
    let candidate = Candidate::in_folder(&plugins(&dir).join("sentiment"));
    let mut plugin = load_plugin(&candidate.unwrap().unwrap(), &PolicySpec::default()).unwrap();
    let mut host = load_host(None, &HostEnv::default()).unwrap();
    let minute = Duration::from_secs(60);
    for (timeout, grace, said) in [
        (5, 30, None),
        (28, 30, None),
        (29, 30, Some("waits 28s for it")),
        (29, 30, Some("grace = \"31s\"")),
        (3, 4, None),
        (4, 4, Some("waits 3s for it")),
        (3600, 600, Some("the most for [host] grace is 10m")),
    ] {
        plugin.limits.timeout = Duration::from_secs(timeout);
        host.grace = Duration::from_secs(grace);
        let finding = outlasts_drain(&plugin, &host).map(|finding| finding.to_string());
        match (said, finding) {
            (None, finding) => assert_eq!(finding, None),
            (Some(said), finding) => {
                let text = finding.unwrap();
                assert!(text.contains(said), "{text}");
                assert!(
                    text.contains("plugin.toml: limits.timeout: a call may take"),
                    "{text}"
                );
            }
        }
    }
    // The grace that is proposed is enough.
    plugin.limits.timeout = minute;
    host.grace = minute + Duration::from_secs(2);
    assert_eq!(outlasts_drain(&plugin, &host), None);
}

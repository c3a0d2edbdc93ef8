//! Encrypted connections, with an authority and certificates of our own.

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Host, Nats};

/// Makes `ca.pem`, and for the server and for the host a certificate of it with its key.
pub fn certificates(folder: &Path) {
    let script = r#"
set -e
key='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'
openssl req -x509 $key -keyout ca.key -out ca.pem -subj /CN=authority -days 2
for name in server host; do
    openssl req $key -keyout $name.key -out $name.csr -subj /CN=$name
    echo subjectAltName=IP:127.0.0.1 > $name.ext
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out $name.pem -days 2 -extfile $name.ext
done
openssl req -x509 $key -keyout other.key -out other.pem -subj /CN=other -days 2
"#;
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success(), "openssl must be there");
}

#[tokio::test]
async fn the_authority_and_the_certificate_are_our_own() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let path = |name: &str| file(name).display().to_string();
    let tls = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true, timeout: 10 }}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let nats = Nats::options()
        .line(&tls)
        .trusting(&file("ca.pem"))
        .identified_by(&file("host.pem"), &file("host.key"))
        .start()
        .await;
    let section = |ca: &str, cert: &str| {
        let mut lines = format!("[nats.tls]\nca = {:?}\n", path(ca));
        if !cert.is_empty() {
            lines += &format!(
                "cert = {:?}\nkey = {:?}\n",
                path(&format!("{cert}.pem")),
                path(&format!("{cert}.key"))
            );
        }
        lines
    };
    let host = Host::new(&nats)
        .config(&section("ca.pem", "host"))
        .plugin("echo", |p| p.subscribe("tools.echo"))
        .run()
        .await;
    assert_eq!(
        &*nats.request("tools.echo", "sealed").await.payload,
        b"sealed"
    );
    let ran = host.cli(&["request", "tools.echo", "sealed"]).await.ok();
    assert_eq!(ran.stdout.trim_end(), "sealed");

    // Who is not known is not let in, and who is not trusted is not spoken to.
    for (ca, cert) in [("ca.pem", "other"), ("ca.pem", ""), ("other.pem", "host")] {
        let stranger = Host::new(&nats).config(&section(ca, cert)).written();
        let ran = stranger.cli(&["agents"]).await;
        assert_eq!(ran.code, Some(1), "{ca} {cert}: {ran:#?}");
        assert!(ran.stderr.contains(&nats.port().to_string()), "{ran:#?}");
    }
    // Half a certificate is a mistake of the configuration.
    let half = format!(
        "[nats.tls]\nca = {:?}\ncert = {:?}",
        path("ca.pem"),
        path("host.pem")
    );
    let ran = Host::new(&nats)
        .config(&half)
        .written()
        .cli(&["agents"])
        .await;
    assert_eq!(ran.code, Some(64), "{ran:#?}");
    assert!(
        ran.stderr.contains("cert") && ran.stderr.contains("key"),
        "{ran:#?}"
    );
}

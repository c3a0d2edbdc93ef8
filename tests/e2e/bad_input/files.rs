//! Things that lie in the plugins folder in the place of files, and a data folder that is open to
//! all.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use harness::{Host, Line, Nats, Plugin, Running, component, until};

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

async fn complains(host: &Running, plugin: &str, of: &str) {
    let about = |line: &Line| {
        line.level() == "ERROR" && line.field("plugin") == plugin && line.message().contains(of)
    };
    host.logs.first(&format!("{plugin}: {of}"), about).await;
}

/// The memory of the host, in KiB.
fn memory(host: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test]
async fn devices_pipes_links_and_huge_files_are_named_and_harm_nobody() {
    let nats = Nats::start().await;
    let host = Host::new(&nats).plugin("echo", |p| p).run().await;
    let before = memory(&host);
    let plugins = host.plugins();
    let outside = host.folder().join("outside");
    std::fs::write(&outside, "[plugin]\nname = \"linked\"\n").unwrap();

    // Bare files without a manifest, whose imports would be shown.
    symlink("/dev/zero", plugins.join("endless.wasm")).unwrap();
    symlink(&outside, plugins.join("away.wasm")).unwrap();
    fifo(&plugins.join("pipe.wasm"));
    // With a manifest.
    let manifest = |name: &str| {
        let text = format!("[plugin]\nname = {name:?}\n");
        std::fs::write(plugins.join(format!("{name}.toml")), text).unwrap();
    };
    symlink("/dev/zero", plugins.join("known.wasm")).unwrap();
    manifest("known");
    fifo(&plugins.join("piped.wasm"));
    manifest("piped");
    // A component of a tebibyte, of which nothing is on the disk.
    host.drop_in(&Plugin::bare("huge").component("x"));
    let huge = std::fs::File::options()
        .write(true)
        .open(plugins.join("huge/huge.wasm"));
    huge.unwrap().set_len(1 << 40).unwrap();
    // A manifest elsewhere, and one that is a pipe.
    std::fs::create_dir(plugins.join("linked")).unwrap();
    std::fs::write(plugins.join("linked/linked.wasm"), "x").unwrap();
    symlink(&outside, plugins.join("linked/plugin.toml")).unwrap();
    fifo(&plugins.join("stray.toml"));
    // A schema, and credentials.
    let probe = |name| Plugin::bare(name).component(component("probe"));
    host.drop_in(&probe("schema").work_with("lab", "x", "schema = \"s.json\""));
    symlink("/dev/zero", plugins.join("schema/s.json")).unwrap();
    host.drop_in(&probe("secret").head("credentials = \"c.creds\""));
    fifo(&plugins.join("secret/c.creds"));

    for (plugin, of) in [
        ("endless", "it is not a regular file"),
        ("away", "it is a link out of"),
        ("pipe", "it is not a regular file"),
        ("known", "known.wasm is a link out of the plugin's folder"),
        ("piped", "it is not a regular file"),
        ("huge", "has more than 64MiB"),
        ("linked", "it is a link out of"),
        ("schema", "there is no file"),
        ("secret", "there is no file"),
    ] {
        complains(&host, plugin, of).await;
    }
    let answer = nats.request("agent.echo-001.cmd.execute", "hello").await;
    assert_eq!(answer.payload, "hello");
    // The folder is still followed: no thread hangs in a pipe.
    host.drop_in(&Plugin::new("sentiment"));
    nats.agents_ready("sentiment", host.name(), 1).await;
    let grown = memory(&host).saturating_sub(before);
    assert!(grown < 300 * 1024, "{grown} KiB more");
}

#[tokio::test]
async fn the_data_folder_becomes_private() {
    let mut host = Host::alone().plugin("echo", |p| p.not_awaited()).written();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(host.data(), open).unwrap();
    host.start();
    let said = host.logs.saying("now only its owner can").await;
    assert_eq!(said.level(), "INFO");
    until("it runs", async || host.own_server()).await;
    let mode = |name: &str| {
        let path = host.data().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("compiled"), 0o700);
    for file in [
        "host.lock",
        "host_id",
        "nats.json",
        "nats-server.conf",
        "nats-server.log",
    ] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
    host.stop().await;
}

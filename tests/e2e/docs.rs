//! The examples of `docs/patterns`, typed into a shell in the folder of a real host.
//!
//! A block `console run` is carried out: a line `$ …` is a command; what follows it is what it prints,
//! `…` standing for any text, and alone on a line for any lines. A block `toml … run=<file>` is
//! written to that file. A block `python` is a whole program, which must end with 0; a block `text printed`
//! behind it is what it prints. The blocks of one page are taken in order, on one host with the example plugins
//! and a server of its own: what a reader has who follows the page.

#[path = "docs/transcript.rs"]
mod transcript;

#[allow(dead_code, reason = "shared with the test of the documents' text")]
#[path = "../../host/tests/docs/markdown.rs"]
mod markdown;

use std::path::Path;
use std::process::Stdio;

use crate::harness::{Host, Plugin, python, until};
use markdown::Page;
use transcript::{Step, is_as_shown, steps};

/// The program's folder stands first on the search path, as after `export PATH=…` in README.md.
fn search_path() -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_mistersmith"));
    let folder = program.parent().expect("a program lies in a folder");
    let rest = std::env::var("PATH").unwrap_or_default();
    format!("{}:{rest}", folder.display())
}

/// What a command prints on standard output; standard error goes to the test's own.
async fn run(folder: &Path, command: &str) -> String {
    let output = tokio::process::Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", search_path())
        .env_remove("NATS_URL")
        .env_remove("NATS_CREDS")
        .env_remove("MISTERSMITH_LOG")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await;
    String::from_utf8_lossy(&output.expect("there is a shell").stdout).into_owned()
}

/// What a program prints when it ends as it should.
async fn program(folder: &Path, text: &str) -> Result<String, String> {
    let ran = python(folder, &[], &["-c", text]).await;
    match ran.code {
        Some(0) => Ok(ran.stdout),
        _ => Err(ran.stdout + &ran.stderr),
    }
}

/// The plugins that lie in the folder of a reader who has built the examples.
const EXAMPLES: [&str; 3] = ["echo", "sentiment", "word-count"];

/// Does what a page says, with the examples.
async fn follow(name: &str) {
    follow_with(name, &EXAMPLES).await;
}

/// Does what a page says, with these plugins. A command or a program is tried again while it prints
/// something else: what was written or published before may need a moment.
async fn follow_with(name: &str, plugins: &[&str]) {
    let page: Page = markdown::page(name);
    let steps = steps(&page);
    assert!(!steps.is_empty(), "{name} has nothing to carry out");
    let plugins = plugins.iter().copied().map(Plugin::shipped);
    let host = plugins.fold(Host::alone(), Host::with);
    let running = host.run().await;
    for step in steps {
        match step {
            Step::Write { file, text } => {
                std::fs::write(running.folder().join(file), text).expect("the file can be written");
            }
            Step::Run {
                line,
                command,
                shown,
            } => {
                let what = format!("{name}:{line}: {command}\nprints\n{shown}");
                until(&what, async || {
                    let now = run(running.folder(), &command).await;
                    let done = is_as_shown(&now, &shown);
                    if !done {
                        eprintln!("{name}:{line}: {command}\nprinted\n{now}");
                    }
                    done.then_some(())
                })
                .await;
            }
            Step::Python { line, text, shown } => {
                let what = format!("{name}:{line}: the program ends well, as shown");
                until(&what, async || {
                    let now = program(running.folder(), &text).await;
                    let done = now.as_ref().is_ok_and(|printed| {
                        shown
                            .as_ref()
                            .is_none_or(|shown| is_as_shown(printed, shown))
                    });
                    if !done {
                        eprintln!("{name}:{line}: the program printed\n{now:?}");
                    }
                    done.then_some(())
                })
                .await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_work_queue_does_what_it_says() {
    follow("docs/patterns/work-queue.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_request_and_reply_does_what_it_says() {
    follow("docs/patterns/request-reply.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_publish_and_subscribe_does_what_it_says() {
    follow("docs/patterns/publish-subscribe.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_key_value_does_what_it_says() {
    follow("docs/patterns/key-value.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_lifecycle_does_what_it_says() {
    follow("docs/patterns/lifecycle.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_dead_letters_does_what_it_says() {
    follow("docs/patterns/dead-letters.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_outside_clients_does_what_it_says() {
    follow("docs/python.md").await;
}

#[test]
fn every_page_with_examples_is_followed() {
    let own = include_str!("docs.rs");
    for page in markdown::pages() {
        let followed = ["follow", "follow_with"]
            .iter()
            .any(|way| own.contains(&format!("{way}(\"{}\"", page.name)));
        assert_eq!(followed, !steps(&page).is_empty(), "{}", page.name);
    }
}

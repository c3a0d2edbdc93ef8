//! The examples of the documents, typed into a shell in the folder of a real host.
//!
//! A block `console run` is carried out: a line `$ …` is a command; what follows it is what it
//! prints, `…` standing for any text, and alone on a line for any lines. A block `toml …
//! run=<file>` is written to that file. A block `python` is a whole program, which must end with 0;
//! a block `text printed` behind it is what it prints. The blocks of one page are taken in order,
//! on one host with the example plugins and a server of its own: what a reader has who follows the
//! page.

#[path = "docs/transcript.rs"]
mod transcript;

#[allow(dead_code, reason = "shared with the test of the documents' text")]
#[path = "../docs/markdown.rs"]
pub mod markdown;

use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use harness::{Host, Plugin, python, until};
use markdown::Page;
use transcript::{Step, is_as_shown, steps};

/// The program's folder stands first on the search path, as after `export PATH=…` in README.md.
fn search_path() -> String {
    let program = harness::program("mistersmith");
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

/// The examples, which lie in the folder of a reader who has built them.
fn examples() -> Vec<Plugin> {
    let folder = markdown::root().join("plugins");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the examples are there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("plugin.toml").exists())
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names.iter().map(|name| Plugin::shipped(name)).collect()
}

/// Does what a page says. A command or a program is tried again while it prints something else:
/// what was written or published before may need a moment.
async fn follow(page: Page) {
    let name = &page.name;
    let steps = steps(&page);
    let host = examples().into_iter().fold(Host::alone(), Host::with);
    let running = host.run().await;
    for step in steps {
        match step {
            Step::Write { file, text } => {
                let path = running.folder().join(file);
                let folder = path.parent().expect("a folder below the host's");
                std::fs::create_dir_all(folder).expect("the folder can be made");
                std::fs::write(&path, text).expect("the file can be written");
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

/// How many pages are followed at the same time: each has a host and a server.
const TOGETHER: usize = 2;

#[tokio::test]
async fn every_page_does_what_it_says() {
    let pages = markdown::pages().into_iter();
    let pages: Vec<Page> = pages.filter(|page| !steps(page).is_empty()).collect();
    assert!(pages.len() >= 8, "only {} pages have examples", pages.len());
    let room = Rc::new(Semaphore::new(TOGETHER));
    let mut wrong = Vec::new();
    let all = async {
        let mut following = JoinSet::new();
        for page in pages {
            let room = room.clone();
            following.spawn_local(async move {
                let _place = room.acquire().await;
                follow(page).await;
            });
        }
        while let Some(ended) = following.join_next().await {
            wrong.extend(ended.err().map(|error| error.to_string()));
        }
    };
    LocalSet::new().run_until(all).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

//! Compiling, with the real program as the child: hostile components, limits, and the folder of
//! what was compiled.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "tests read what they have made, and print why they fail"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

#[path = "../../tests/harness/bomb.rs"]
mod bomb;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bomb::bomb;
use mistersmith_core::limits::PluginLimits;
use mistersmith_runtime::{
    Attempt, CompileLimits, Component, ComponentError, Runtime, RuntimeOptions,
};
use tokio::sync::Mutex;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a component takes that would take minutes of a compiler.
fn heavy() -> Vec<u8> {
    bomb(6000, 490)
}

/// A component that is no bomb, as `make test` has put it there.
fn healthy() -> Vec<u8> {
    let folder = std::env::var_os("MISTERSMITH_TEST_PLUGINS")
        .expect("MISTERSMITH_TEST_PLUGINS names the compiled plugins: run `make test`");
    fs::read(Path::new(&folder).join("bench/bench.wasm")).expect("the component bench")
}

/// Children of this process are looked for by all tests: one test at a time.
static ALONE: Mutex<()> = Mutex::const_new(());

fn runtime(folder: Option<&Path>, change: impl FnOnce(&mut CompileLimits)) -> Runtime {
    let mut compiling = CompileLimits::default();
    change(&mut compiling);
    Runtime::new(RuntimeOptions {
        program: PathBuf::from(env!("CARGO_BIN_EXE_mistersmith")),
        cache_dir: folder.map(Path::to_owned),
        compiling,
        max_agents: 1,
    })
    .unwrap()
}

async fn compile(runtime: &Runtime, bytes: Vec<u8>) -> Result<Component, ComponentError> {
    let limits = PluginLimits::default();
    let compiling = runtime.compile(bytes, &limits, &Attempt::FIRST);
    let compiled = tokio::time::timeout(PATIENCE, compiling).await;
    compiled.expect("a compiler that nobody ends")
}

/// A value of `/proc/<process>/status`.
fn status(process: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start_matches(':').trim().to_owned())
}

/// Children of this process that compile.
fn children() -> Vec<String> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .filter(|pid| status(pid, "PPid").is_some_and(|parent| parent == own))
        .filter(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.contains("compile-component")
        })
        .collect()
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn kib(value: Option<String>) -> u64 {
    let value = value.unwrap();
    value.trim_end_matches(" kB").parse().unwrap()
}

/// Files of compiled components.
fn compiled(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let paths = entries.map(|entry| entry.path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "cwasm"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_too_much_is_ended_while_others_are_compiled() {
    let _alone = ALONE.lock().await;
    let runtime = runtime(None, |limits| limits.cpu = Duration::from_secs(3));
    let before = kib(status("self", "VmRSS"));
    let hostile = [heavy(), heavy()].map(|bytes| async { compile(&runtime, bytes).await });
    let [one, other] = hostile;
    let good = async {
        // Behind both of them.
        until("they are being compiled", || {
            (children().len() == 2).then_some(())
        })
        .await;
        compile(&runtime, healthy()).await.unwrap();
    };
    let (one, other, ()) = tokio::join!(one, other, good);
    for refused in [one, other] {
        let error = refused.unwrap_err();
        assert!(error.is_passing(), "another machine may be faster");
        assert_eq!(
            error.to_string(),
            "the component could not be compiled: it took more than 3s of CPU time"
        );
    }
    let grown = kib(status("self", "VmRSS")).saturating_sub(before);
    assert!(grown < 200 * 1024, "{grown} KiB more in this process");
    until("they end", || children().is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_killed_when_its_time_is_over_or_nobody_waits() {
    let _alone = ALONE.lock().await;
    let late = runtime(None, |limits| limits.timeout = Duration::from_secs(1));
    let error = compile(&late, heavy()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component could not be compiled: it took longer than 1s"
    );
    assert!(error.is_passing());
    until("it is killed", || children().is_empty().then_some(())).await;

    let runtime = runtime(None, |_| ());
    let limits = PluginLimits::default();
    let mut compiling = Box::pin(runtime.compile(heavy(), &limits, &Attempt::FIRST));
    let child = tokio::select! {
        compiled = &mut compiling => panic!("{compiled:?}"),
        child = until("it is being compiled", || children().pop()) => child,
    };
    assert!(!child.is_empty());
    drop(compiling);
    until("it is killed", || children().is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded() {
    let _alone = ALONE.lock().await;
    let runtime = runtime(None, |limits| limits.memory = 48 << 20);
    let error = compile(&runtime, bomb(100_000, 3)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component could not be compiled: it took more than 48 MiB of memory"
    );
    assert!(error.is_passing());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_has_nothing_of_the_host() {
    let _alone = ALONE.lock().await;
    let runtime = runtime(None, |_| ());
    let limits = PluginLimits::default();
    let mut compiling = Box::pin(runtime.compile(heavy(), &limits, &Attempt::FIRST));
    let confined = || {
        let pid = children().pop()?;
        // The last that it gives up.
        let bounds = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
        let none = |name| {
            let line = bounds.lines().find(|line| line.starts_with(name));
            line.is_some_and(|line| line.split_whitespace().rev().nth(1) == Some("0"))
        };
        none("Max processes").then_some((pid, bounds))
    };
    let (pid, bounds) = tokio::select! {
        compiled = &mut compiling => panic!("{compiled:?}"),
        child = until("it compiles", confined) => child,
    };
    for name in [
        "Max open files",
        "Max processes",
        "Max file size",
        "Max core file size",
    ] {
        let line = bounds.lines().find(|line| line.starts_with(name)).unwrap();
        let numbers: Vec<&str> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(numbers, ["0", "0"], "{line}");
    }
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let names: Vec<&str> = environment
        .split('\0')
        .filter_map(|variable| variable.split('=').next())
        .filter(|name| !name.is_empty() && !name.starts_with("MIMALLOC_"))
        .collect();
    assert_eq!(names, [""; 0]);
    let mut open: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .flatten()
        .map(|entry| {
            let target = fs::read_link(entry.path()).unwrap();
            let kind = target.to_string_lossy();
            let kind = kind.split(':').next().unwrap().to_owned();
            format!("{} {kind}", entry.file_name().to_string_lossy())
        })
        .collect();
    open.sort();
    assert_eq!(open, ["0 pipe", "1 pipe", "2 pipe"]);
    assert_eq!(status(&pid, "NoNewPrivs").unwrap(), "1");
    for set in ["CapInh", "CapPrm", "CapEff"] {
        assert_eq!(status(&pid, set).unwrap(), "0000000000000000", "{set}");
    }
    let folder = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(folder, Path::new("/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_tampered_with_is_compiled_again() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("compiled");
    let fresh = || runtime(Some(&folder), |_| ());
    compile(&fresh(), healthy()).await.unwrap();
    let [file] = compiled(&folder).try_into().unwrap();
    let whole = fs::read(&file).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    for damaged in [changed, whole[..middle].to_vec(), Vec::new()] {
        fs::write(&file, &damaged).unwrap();
        compile(&fresh(), healthy()).await.unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole, "made again");
    }
    // Good code of another component under this name.
    compile(&fresh(), bomb(1, 1)).await.unwrap_err();
    let other = compiled(&folder).into_iter().find(|path| *path != file);
    fs::copy(other.unwrap(), &file).unwrap();
    compile(&fresh(), healthy()).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), whole, "made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_looked_at_and_nothing_is_compiled() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let runtime = runtime(Some(folder.path()), |limits| {
        limits.cpu = Duration::from_secs(5);
    });
    let imports = runtime.imports(heavy()).await.unwrap();
    assert_eq!(imports, [""; 0]);
    let imports = runtime.imports(healthy()).await.unwrap();
    assert!(imports.iter().any(|name| name.starts_with("wasi:")) || !imports.is_empty());
    // It is no agent, which its names say already.
    let component = heavy();
    let place = component
        .windows(7)
        .position(|window| window == b"handler")
        .unwrap();
    let mut other = component;
    other[place..place + 7].copy_from_slice(b"handles");
    let error = compile(&runtime, other).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("does not export mistersmith:agent/handler"),
        "{error}"
    );
    assert!(!error.is_passing());
    assert!(compiled(folder.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_bounds_is_not_compiled() {
    let _alone = ALONE.lock().await;
    let runtime = runtime(None, |limits| limits.cpu = Duration::from_secs(5));
    for (component, bound) in [
        (
            bomb(1, 10_000),
            "loops within loops, and 500 are the most that is compiled",
        ),
        (
            bomb(200_001, 0),
            "200001 functions or more, and 200000 are the most that is compiled",
        ),
    ] {
        let error = compile(&runtime, component).await.unwrap_err();
        assert!(error.to_string().contains(bound), "{error}");
        assert!(!error.is_passing(), "only another file helps");
    }
}

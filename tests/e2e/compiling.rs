//! Components that cost a compiler too much, beside those that do not; and little address space.

use std::path::Path;

use harness::{Host, Line, Nats, Plugin, Running, bomb, component, is_alive, until};

/// Takes minutes to compile.
fn heavy(name: &str) -> Plugin {
    Plugin::bare(name).component(bomb(6000, 490)).not_awaited()
}

/// A number of `/proc/<pid>/status`.
fn status(pid: u32, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .ok()
}

/// Processes that compile for a host.
fn compilers(host: &Running) -> Vec<u32> {
    let parent = u64::from(host.pid());
    let names = std::fs::read_dir("/proc").unwrap().flatten();
    names
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| status(*pid, "PPid") == Some(parent))
        .filter(|pid| {
            let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline"));
            line.unwrap_or_default().contains("compile-component")
        })
        .collect()
}

fn is_refusal(line: &Line, plugin: &str) -> bool {
    line.level() == "ERROR" && line.field("plugin") == plugin
}

#[tokio::test]
async fn a_component_that_costs_much_holds_up_no_other() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        .with(heavy("bomb"))
        .with(heavy("bomb-two"))
        .plugin("echo", |p| p)
        .run()
        .await;
    let ready = host.logs.saying("host ready").await;
    assert_eq!(
        (ready.field("plugins"), ready.field("loading")),
        ("1".to_owned(), "2".to_owned())
    );
    let told = host.logs.saying("compiling the component").await;
    assert!(told.field("plugin").starts_with("bomb"), "{told:?}");
    // Others are loaded meanwhile, and what runs serves.
    let compiling = until("they are compiled", async || {
        let compilers = compilers(&host);
        (!compilers.is_empty()).then_some(compilers)
    })
    .await;
    host.drop_in(&Plugin::new("sentiment"));
    nats.agents_ready("sentiment", host.name(), 1).await;
    let answer = nats.request("agent.echo-001.cmd.execute", "hello").await;
    assert_eq!(answer.payload, "hello");
    let memory = status(host.pid(), "VmRSS").unwrap();
    assert!(memory < 400 * 1024, "{memory} KiB in the host");
    // One that is taken away is compiled no longer, and a drain does not wait for the other.
    host.take_out("bomb");
    host.logs
        .first("bomb is removed", |line| {
            line.message() == "plugin removed" && line.field("plugin") == "bomb"
        })
        .await;
    let (code, took) = host.stop().await;
    assert_eq!(code, Some(0));
    assert!(took.as_secs() < 8, "{took:?}");
    until("no compiler is left", async || {
        compiling.iter().all(|pid| !is_alive(*pid)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn compilers_end_with_a_host_that_is_killed() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats).with(heavy("bomb")).start();
    let compiler = until("it is compiled", async || compilers(&host).pop()).await;
    host.kill();
    until("the compiler ends", async || {
        (!is_alive(compiler)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_bomb_is_refused_by_the_bound_that_it_breaks() {
    let nats = Nats::start().await;
    let bomb = Plugin::bare("bomb").component(bomb(1, 10_000));
    let host = Host::new(&nats)
        .with(bomb.not_awaited())
        .plugin("echo", |p| p)
        .run()
        .await;
    let refused = host.logs.first("it is refused", |l| is_refusal(l, "bomb"));
    let message = refused.await.message();
    for words in [
        "bomb/bomb.wasm",
        "loops within loops, and 500 are the most that is compiled",
    ] {
        assert!(message.contains(words), "{message}");
    }
    nats.audited("plugin", |entry| {
        entry["plugin"] == "bomb" && entry["change"] == "refused"
    })
    .await;
    let checked = host.cli(&["check", "--json"]).await;
    assert_eq!(checked.code, Some(64), "{checked:#?}");
    let mistakes = checked.json()["mistakes"].to_string();
    assert!(mistakes.contains("500 are the most"), "{mistakes}");
}

#[tokio::test]
async fn a_component_without_a_manifest_is_looked_at_and_not_compiled() {
    let nats = Nats::start().await;
    let host = Host::new(&nats).plugin("echo", |p| p).run().await;
    std::fs::write(host.plugins().join("lonely.wasm"), bomb(6000, 490)).unwrap();
    let told = host
        .logs
        .first("it is named", |line| line.field("plugin") == "lonely")
        .await;
    assert!(told.message().contains("has no manifest"), "{told:?}");
    let checked = host.cli(&["check", "--json"]).await.ok();
    let found = &checked.json()["without_manifest"][0];
    let component = found["component"].as_str().unwrap().to_owned();
    assert!(Path::new(&component).ends_with("lonely.wasm"), "{found}");
    assert!(compilers(&host).is_empty());
}

#[tokio::test]
async fn a_host_with_little_address_space_allocates_on_demand() {
    let nats = Nats::start().await;
    let mut host = Host::new(&nats)
        // Four GiB, of which the agents alone would be given thousands.
        .shell("ulimit -v 4194304; exec \"$@\"")
        .plugin("probe", |p| p.instances(20).work("lab", "*"))
        .run()
        .await;
    let of = |line: &Line| line.message().contains("no address space to reserve");
    let said = host.logs.find(of);
    assert_eq!(said.len(), 1, "{said:#?}");
    assert_eq!(said[0].level(), "WARN");
    assert!(said[0].message().contains("[host] agents"), "{said:?}");
    nats.work_as("small", "work.lab.high.x", r#"{"do": "echo", "value": 1}"#)
        .await;
    assert_eq!(nats.result_of("small").await.text(), "1");
    // An agent's memory is its own bound still.
    let answer = nats.request("agent.probe-002.cmd.status", "").await;
    assert!(String::from_utf8_lossy(&answer.payload).contains("ready"));
    assert_eq!(host.stop().await.0, Some(0));

    // Room for fewer can be reserved.
    let limit = "ulimit -v 4398046511; exec \"$@\"";
    let host = Host::new(&nats)
        .named("h2")
        .line("agents = 100")
        .shell(limit)
        .plugin("echo", |p| p)
        .run()
        .await;
    assert_eq!(host.logs.find(of).len(), 0);
}

/// Whether the system can tell which pages of a memory were written; without, a host keeps more.
fn tells_what_was_written() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(7_u32))
}

#[tokio::test]
async fn agents_that_are_gone_leave_little_memory_behind() {
    const AGENTS: u32 = 600;
    let nats = Nats::start().await;
    let mut host = Host::new(&nats).plugin("echo", |p| p).run().await;
    let memory = |host: &Running| status(host.pid(), "VmRSS").unwrap();
    let before = memory(&host);
    let many = Plugin::bare("many").component(component("echo"));
    host.drop_in(&many.instances(AGENTS));
    host.wait_plugin("many", AGENTS).await;
    let most = memory(&host);
    assert!(most > before + 15 * u64::from(AGENTS), "{before} {most}");
    host.take_out("many");
    host.logs.saying("plugin removed").await;
    let each = if tells_what_was_written() { 95 } else { 170 };
    until("their memory is given back", async || {
        let left = memory(&host).saturating_sub(before) / u64::from(AGENTS);
        (left < each).then_some(())
    })
    .await;
    assert_eq!(host.stop().await.0, Some(0));
}

#[tokio::test]
async fn more_agents_than_the_host_may_have_are_refused_one_by_one() {
    for script in ["exec \"$@\"", "ulimit -v 4194304; exec \"$@\""] {
        let nats = Nats::start().await;
        let host = Host::new(&nats)
            .line("agents = 1")
            .shell(script)
            .plugin("probe", |p| p.instances(40).not_awaited())
            .run()
            .await;
        let full = |line: &Line| format!("{:?}", line.0).contains("no room for another instance");
        host.logs.first("it is full", full).await;
        let ready = "those that have room are ready";
        until(ready, async || {
            let answers = nats.ask_all("agent.all.cmd.status", "", 40).await;
            let ready = answers.iter().filter(|answer| answer["status"] == "ready");
            (ready.count() >= 33).then_some(())
        })
        .await;
    }
}

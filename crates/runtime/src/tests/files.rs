//! Files that are not agents: one clear sentence each, and never a panic.

use proptest::prelude::*;

use super::*;

async fn refusal(bytes: &[u8]) -> String {
    let compiled = shared()
        .compile(bytes.to_vec(), &PluginLimits::default(), &Attempt::FIRST)
        .await;
    compiled.unwrap_err().to_string()
}

#[tokio::test]
async fn each_mistake_has_its_sentence() {
    let core = Module::echo().core();
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "empty",
            Vec::new(),
            "the file is not WebAssembly: it does not begin with the bytes \"\\0asm\"",
        ),
        (
            "text",
            b"#!/bin/sh\n".to_vec(),
            "the file is not WebAssembly: it does not begin with the bytes \"\\0asm\"",
        ),
        (
            "four bytes",
            b"\0asm".to_vec(),
            "the file is damaged or uses what this engine does not support: it ends after its \
             first bytes",
        ),
        (
            "core module",
            core,
            "the file is a core module, not a component; build it with --target wasm32-wasip2",
        ),
        (
            "another format",
            b"\0asm\x0e\0\x01\0".to_vec(),
            "the file is WebAssembly of an unknown format (version 0x0001000e); build it with a \
             newer or older tool chain",
        ),
        (
            "no handler",
            Module::world("mute").component(),
            "the component does not export mistersmith:agent/handler@0.1.0; write an agent with \
             the SDK's export_agent! macro (it exports nothing)",
        ),
        (
            "a command",
            Module::world("command").component(),
            "the component does not export mistersmith:agent/handler@0.1.0; write an agent with \
             the SDK's export_agent! macro (it exports wasi:cli/run@0.2.6)",
        ),
        (
            "another version",
            Module::version("0.2.0").component(),
            "the component was built for mistersmith:agent/handler@0.2.0, and this host offers \
             version 0.1.0; build it again with the SDK of this host",
        ),
        (
            "too greedy",
            Module::world("greedy")
                .import("wasi:http/outgoing@0.2.6", "handle", "")
                .component(),
            "the component imports wasi:http/outgoing@0.2.6, which this host does not offer; it \
             offers messaging, kv, coordination, context and log of mistersmith:agent, and WASI \
             0.2 without files, sockets and HTTP",
        ),
    ];
    for (name, bytes, sentence) in cases {
        assert_eq!(refusal(&bytes).await, sentence, "{name}");
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_not_even_read() {
    let size = mistersmith_core::limits::MAX_COMPONENT + 1;
    let mut bytes = Module::echo().component();
    bytes.resize(usize::try_from(size).unwrap(), 0);
    assert_eq!(
        refusal(&bytes).await,
        format!(
            "the file has {size} bytes, and a component may have {}",
            size - 1
        )
    );
}

#[tokio::test]
async fn a_newer_patch_of_the_interfaces_runs() {
    let component = shared()
        .compile(
            Module::version("0.1.7").component(),
            &PluginLimits::default(),
            &Attempt::FIRST,
        )
        .await
        .unwrap();
    let built = Fixture::new().build();
    let mut agent = shared()
        .instantiate(&component, Arc::clone(&built.context))
        .await
        .unwrap();
    assert_eq!(reply(agent.handle(&call("hi")).await).payload, "hi");
}

#[tokio::test]
async fn imports_are_listed() {
    let module = Module::echo()
        .import(
            "wasi:random/random@0.2.6",
            "get-random-bytes",
            "(param i64 i32)",
        )
        .import(
            "mistersmith:agent/log@0.1.0",
            "log",
            "(param i32 i32 i32 i32 i32)",
        );
    let component = shared()
        .compile(
            module.component(),
            &PluginLimits::default(),
            &Attempt::FIRST,
        )
        .await
        .unwrap();
    let imports = component.imports();
    assert!(
        imports.contains(&"mistersmith:agent/log@0.1.0".to_owned()),
        "{imports:?}"
    );
    assert!(
        imports.contains(&"wasi:random/random@0.2.6".to_owned()),
        "{imports:?}"
    );
    assert!(
        !imports.iter().any(|import| import.contains("messaging")),
        "{imports:?}"
    );
}

#[tokio::test]
async fn compiled_code_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = || RuntimeOptions {
        program: PathBuf::new(),
        cache_dir: Some(folder.path().join("cache")),
        compiling: CompileLimits::default(),
        max_agents: 1,
    };
    let bytes = Module::echo().component();
    for _ in 0..2 {
        let runtime = Runtime::new(options()).unwrap();
        runtime
            .compile(bytes.clone(), &PluginLimits::default(), &Attempt::FIRST)
            .await
            .unwrap();
    }
    assert!(
        std::fs::read_dir(folder.path().join("cache"))
            .unwrap()
            .count()
            > 0
    );
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let blocked = RuntimeOptions {
        program: PathBuf::new(),
        cache_dir: Some(file.join("cache")),
        compiling: CompileLimits::default(),
        max_agents: 1,
    };
    let error = Runtime::new(blocked).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot keep compiled code in "),
        "{error}"
    );
}

#[test]
fn a_component_cut_anywhere_is_refused() {
    let bytes = Module::echo().component();
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(async {
        for end in (0..bytes.len()).step_by(1 + bytes.len() / 100) {
            let _ = refusal(&bytes[..end]).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bytes changed at random: an error, or a component whose calls end one way or another.
    #[test]
    fn a_component_changed_anywhere_harms_nobody(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = Module::echo().component();
        for (index, byte) in &changes {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(async {
            let Ok(component) = shared().compile(bytes, &PluginLimits::default(), &Attempt::FIRST).await else { return };
            let quick = |fixture: &mut Fixture| {
                fixture.limits.timeout = Duration::from_millis(100);
                fixture.limits.start_timeout = Duration::from_millis(100);
            };
            let built = Fixture::new().with(quick).build();
            if let Ok(mut agent) = shared().instantiate(&component, Arc::clone(&built.context)).await {
                let _ = agent.start().await;
                let _ = agent.handle(&call("hello")).await;
            }
        });
    }
}

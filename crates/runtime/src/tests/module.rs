//! A core module in text that implements the handler, made into a component.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// WASI as far as the tests use it, and worlds with and without what a plugin needs.
const WORLDS: &str = r#"
package test:guests;

world agent {
    include mistersmith:agent/agent@0.1.0;
    import wasi:cli/exit@0.2.6;
    import wasi:cli/stdout@0.2.6;
    import wasi:clocks/monotonic-clock@0.2.6;
    import wasi:random/random@0.2.6;
}
world greedy {
    include mistersmith:agent/agent@0.1.0;
    import wasi:http/outgoing@0.2.6;
}
world mute {
    import mistersmith:agent/log@0.1.0;
}
world command {
    export wasi:cli/run@0.2.6;
}
"#;

const WASI: [&str; 5] = [
    r#"package wasi:io@0.2.6;
    interface poll { resource pollable { block: func(); } }
    interface streams {
        use poll.{pollable};
        resource output-stream {
            check-write: func() -> result<u64, stream-error>;
            write: func(contents: list<u8>) -> result<_, stream-error>;
        }
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
    }
    interface error { resource error { } }"#,
    r#"package wasi:cli@0.2.6;
    interface exit { exit: func(status: result); }
    interface run { run: func() -> result; }
    interface stdout { use wasi:io/streams@0.2.6.{output-stream}; get-stdout: func() -> output-stream; }"#,
    r#"package wasi:clocks@0.2.6;
    interface monotonic-clock {
        use wasi:io/poll@0.2.6.{pollable};
        now: func() -> u64;
        subscribe-duration: func(when: u64) -> pollable;
    }"#,
    r#"package wasi:random@0.2.6;
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }"#,
    r#"package wasi:http@0.2.6;
    interface outgoing { handle: func(); }"#,
];

/// The parts of a module that tests replace. Every export does nothing and succeeds; `handle`
/// echoes.
#[derive(Clone)]
pub(super) struct Module {
    world: &'static str,
    version: &'static str,
    imports: String,
    items: String,
    memory: String,
    realloc: String,
    start: String,
    handle: String,
    batch: String,
    stop: String,
}

/// The echo: ok, some, and a reply that holds the payload's pointer and length.
const ECHO: &str = "
    (i32.store8 (i32.const 1024) (i32.const 0))
    (i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (local.get $payload))
    (i32.store (i32.const 1036) (local.get $payload_len))
    (i32.const 1024)";

/// A bump allocator that begins again with each call, and grows the memory when it must.
const REALLOC: &str = "
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
    (global.set $heap (i32.add (local.get $at) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
        (then (if (i32.eq (i32.const -1)
            (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $size) (i32.const 65536)))))
            (then unreachable))))
    (local.get $at)";

impl Module {
    pub(super) fn echo() -> Self {
        Self {
            world: "agent",
            version: "0.1.0",
            imports: String::new(),
            items: String::new(),
            memory: "(memory (export \"memory\") 2)".to_owned(),
            realloc: REALLOC.to_owned(),
            start: "(i32.const 2048)".to_owned(),
            handle: ECHO.to_owned(),
            batch: "(i32.const 2048)".to_owned(),
            stop: String::new(),
        }
    }

    /// An agent whose `handle` is this.
    pub(super) fn handle(body: &str) -> Self {
        Self {
            handle: format!("{body} {ECHO}"),
            ..Self::echo()
        }
    }

    /// With this before the echo only when the payload is not empty: so one instance can be asked
    /// twice.
    pub(super) fn when_asked(body: &str) -> Self {
        Self::handle(&format!("(if (local.get $payload_len) (then {body}))"))
    }

    pub(super) fn import(mut self, module: &str, name: &str, signature: &str) -> Self {
        let local = name.rsplit(['.', ']']).next().unwrap_or(name);
        self.imports += &format!("(import \"{module}\" \"{name}\" (func ${local} {signature}))\n");
        self
    }

    pub(super) fn item(mut self, item: &str) -> Self {
        self.items += item;
        self
    }

    pub(super) fn memory(mut self, memory: &str) -> Self {
        self.memory = memory.to_owned();
        self
    }

    pub(super) fn realloc(mut self, body: &str) -> Self {
        self.realloc = body.to_owned();
        self
    }

    pub(super) fn start(mut self, body: &str) -> Self {
        self.start = body.to_owned();
        self
    }

    pub(super) fn batch(mut self, body: &str) -> Self {
        self.batch = body.to_owned();
        self
    }

    pub(super) fn stop(mut self, body: &str) -> Self {
        self.stop = body.to_owned();
        self
    }

    /// Another of the worlds above; its module has no handler.
    pub(super) fn world(world: &'static str) -> Self {
        Self {
            world,
            ..Self::echo()
        }
    }

    /// Built against another version of the interfaces.
    pub(super) fn version(version: &'static str) -> Self {
        Self {
            version,
            ..Self::echo()
        }
    }

    /// The module, in binary.
    pub(super) fn core(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap()
    }

    /// The module wrapped as a component.
    pub(super) fn component(&self) -> Vec<u8> {
        let mut core = self.core();
        let (resolve, world) = self.resolve();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).unwrap();
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true).module(&core).unwrap();
        encoder.encode().unwrap()
    }

    fn resolve(&self) -> (Resolve, wit_parser::WorldId) {
        let mut resolve = Resolve::default();
        for package in WASI {
            resolve.push_str("wasi.wit", package).unwrap();
        }
        let folder = mistersmith_testing::package("../../wit");
        let mut package = String::new();
        for file in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let text = text.replace("package mistersmith:agent@0.1.0;", "");
            package += &text;
        }
        let package = format!("package mistersmith:agent@{};\n{package}", self.version);
        resolve.push_str("agent.wit", &package).unwrap();
        let worlds = WORLDS.replace("@0.1.0", &format!("@{}", self.version));
        let id = resolve.push_str("worlds.wit", &worlds).unwrap();
        let world = resolve.select_world(&[id], Some(self.world)).unwrap();
        (resolve, world)
    }

    fn text(&self) -> String {
        let Self {
            imports,
            items,
            memory,
            realloc,
            ..
        } = self;
        let exports = self.exports();
        format!(
            "(module
                {imports}
                {memory}
                (global $heap (mut i32) (i32.const 65536))
                (func $realloc (export \"cabi_realloc\") (param i32 i32 i32) (param $size i32) \
                    (result i32) {realloc})
                {items}
                {exports})"
        )
    }

    fn exports(&self) -> String {
        let handler = format!("mistersmith:agent/handler@{}#", self.version);
        let Self {
            start,
            handle,
            batch,
            stop,
            ..
        } = self;
        match self.world {
            "mute" => String::new(),
            "command" => "(func (export \"wasi:cli/run@0.2.6#run\") (result i32) (i32.const \
                          0))"
            .to_owned(),
            _ => format!(
                "(func (export \"{handler}start\") (result i32) {start})
                (func (export \"{handler}handle\")
                    (param $kind i32) (param $a i32) (param $b i64) (param $c i32)
                    (param $subject i32) (param $subject_len i32)
                    (param $payload i32) (param $payload_len i32) (result i32)
                    (global.set $heap (i32.const 65536))
                    {handle})
                (func (export \"{handler}handle-batch\") (param $items i32) (param $count i32) \
                                (result i32) {batch})
                (func (export \"{handler}notify\") (param i32 i32 i32 i32 i64 i32 i32))
                (func (export \"{handler}health\") (result i32) (i32.const 2048))
                (func (export \"{handler}stop\") (param i32 i32) {stop})"
            ),
        }
    }
}

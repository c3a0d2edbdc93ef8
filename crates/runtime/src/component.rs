//! Components: checked against the interfaces of the host and ready to be instantiated.
//!
//! Everything that can be checked without running the code is checked here, so that an instance can
//! fail only for lack of room or by its own code.

use std::sync::Arc;

use thiserror::Error;
use wasmtime::Result as WasmResult;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component as Compiled, InstancePre, Linker};

use super::compiler::order::Interfaces;
use super::state::State;
use crate::bindings::AgentPre;
use crate::bindings::exports::mistersmith::agent::handler as wit;
use crate::capabilities::{WASI_INTERFACES, WASI_VERSION};
use mistersmith_core::limits::{MAX_COMPONENT, PluginLimits};

/// The version of `wit/`.
const VERSION: &str = "0.1.0";

/// The interfaces that the host offers beside WASI.
const INTERFACES: [&str; 6] = [
    "mistersmith:agent/context",
    "mistersmith:agent/coordination",
    "mistersmith:agent/kv",
    "mistersmith:agent/log",
    "mistersmith:agent/messaging",
    "mistersmith:agent/types",
];

/// The unit of linear memories, in bytes.
const WASM_PAGE: u64 = 64 << 10;

const HANDLER: &str = "mistersmith:agent/handler";

/// A compiled and type-checked component. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    pub(super) pre: AgentPre<State>,
    imports: Arc<[String]>,
}

impl Component {
    /// What it imports, with versions, sorted: `mistersmith:agent/messaging@0.1.0`,
    /// `wasi:cli/stdout@0.2.6`, ….
    pub fn imports(&self) -> Vec<String> {
        self.imports.to_vec()
    }
}

impl ComponentError {
    /// Whether another attempt may succeed: the file is not known to be at fault.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Compiler { .. })
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component")
            .field("imports", &self.imports)
            .finish_non_exhaustive()
    }
}

/// Why a file cannot be run as an agent.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ComponentError {
    /// The file is larger than any component may be.
    #[error("the file has {size} bytes, and a component may have {MAX_COMPONENT}")]
    TooLarge {
        /// Its size in bytes.
        size: u64,
    },
    /// It does not begin like WebAssembly.
    #[error("the file is not WebAssembly: it does not begin with the bytes \"\\0asm\"")]
    NotWasm,
    /// It is a module of core WebAssembly.
    #[error("the file is a core module, not a component; build it with --target wasm32-wasip2")]
    CoreModule,
    /// It is WebAssembly of a binary format that the engine does not read.
    #[error(
        "the file is WebAssembly of an unknown format (version {version:#010x}); build it with a \
         newer or older tool chain"
    )]
    UnknownFormat {
        /// The four bytes after the magic number.
        version: u32,
    },
    /// It does not export the handler.
    #[error(
        "the component does not export {HANDLER}@{VERSION}; write an agent with the SDK's \
         export_agent! macro (it exports {exports})"
    )]
    NoHandler {
        /// What it exports instead, as text.
        exports: String,
    },
    /// It was built for another version of the interfaces.
    #[error(
        "the component was built for {found}, and this host offers version {VERSION}; build it \
         again with the SDK of this host"
    )]
    OtherVersion {
        /// The interface with its version.
        found: String,
    },
    /// It needs something that the host does not offer.
    #[error("the component imports {missing}, which this host does not offer; it offers \
             {}", offered(.missing))]
    NotOffered {
        /// The import.
        missing: String,
    },
    /// It uses an interface in another shape than the host has it.
    #[error(
        "the component was built for other definitions of the interfaces than this host's: {detail}"
    )]
    Mismatch {
        /// Which function, and how it differs.
        detail: String,
    },
    /// It needs more memory to begin with than the manifest allows.
    #[error(
        "the component needs {needed} bytes of memory to begin with, and [limits] memory allows \
         {allowed}"
    )]
    TooMuchMemory {
        /// Bytes of its memories at the start.
        needed: u64,
        /// The limit.
        allowed: u64,
    },
    /// The engine cannot read it.
    #[error("the file is damaged or uses what this engine does not support: {detail}")]
    Damaged {
        /// What the engine says.
        detail: String,
    },
    /// It is beyond a bound of what is compiled.
    #[error("{bound}")]
    Beyond {
        /// Which one, and how far.
        bound: String,
    },
    /// The compiler failed, or took too much. The file may be good: it is worth another try.
    #[error("the component could not be compiled: {detail}")]
    Compiler {
        /// What happened.
        detail: String,
    },
}

/// Refuses what is not a component by its first bytes and its size, before anything reads on.
pub(super) fn check_bytes(bytes: &[u8]) -> Result<(), ComponentError> {
    let size = bytes.len() as u64;
    if size > MAX_COMPONENT {
        return Err(ComponentError::TooLarge { size });
    }
    let Some((b"\0asm", rest)) = bytes.split_first_chunk::<4>() else {
        return Err(ComponentError::NotWasm);
    };
    match rest.first_chunk::<4>() {
        // Version 13 of layer 1.
        Some([0x0d, 0, 1, 0]) => Ok(()),
        Some([1, 0, 0, 0]) => Err(ComponentError::CoreModule),
        Some(version) => Err(ComponentError::UnknownFormat {
            version: u32::from_le_bytes(*version),
        }),
        None => Err(ComponentError::Damaged {
            detail: "it ends after its first bytes".to_owned(),
        }),
    }
}

/// Checks a component whose machine code is loaded.
pub(super) fn check(
    linker: &Linker<State>,
    compiled: &Compiled,
    limits: &PluginLimits,
) -> Result<Component, ComponentError> {
    let engine = linker.engine();
    let ty = compiled.component_type();
    let names = Interfaces::new(
        ty.imports(engine).map(|(name, _)| name),
        ty.exports(engine).map(|(name, _)| name),
    );
    check_names(&names)?;
    check_memory(compiled, limits)?;
    let mismatch = |error: wasmtime::Error| ComponentError::Mismatch {
        detail: one_line(&error),
    };
    let pre = linker.instantiate_pre(compiled).map_err(mismatch)?;
    check_handler(&pre).map_err(mismatch)?;
    let pre = AgentPre::new(pre).map_err(mismatch)?;
    Ok(Component {
        pre,
        imports: names.imports.into(),
    })
}

/// Checks what can be known by names alone: that it is an agent, and imports what is offered.
pub(super) fn check_names(interfaces: &Interfaces) -> Result<(), ComponentError> {
    check_exports(&interfaces.exports)?;
    interfaces
        .imports
        .iter()
        .try_for_each(|name| check_import(name))
}

fn check_import(name: &str) -> Result<(), ComponentError> {
    let (interface, version) = name.split_once('@').unwrap_or((name, ""));
    let (known, offered) = if WASI_INTERFACES.contains(&interface) {
        (true, WASI_VERSION)
    } else {
        (INTERFACES.contains(&interface), VERSION)
    };
    match known {
        true if compatible(version, offered) => Ok(()),
        true if offered == VERSION => Err(ComponentError::OtherVersion {
            found: name.to_owned(),
        }),
        _ => Err(ComponentError::NotOffered {
            missing: name.to_owned(),
        }),
    }
}

/// The same `0.<minor>`, and no pre-release: those match nothing but themselves.
fn compatible(version: &str, offered: &str) -> bool {
    let minor = |version: &str| {
        let (zero, rest) = version.split_once('.')?;
        let minor = rest.split('.').next()?;
        (zero == "0" && !version.contains('-')).then(|| minor.to_owned())
    };
    minor(version).is_some_and(|found| Some(found) == minor(offered))
}

fn check_exports(exports: &[String]) -> Result<(), ComponentError> {
    let handler = exports.iter().find_map(|name| {
        let (interface, version) = name.split_once('@')?;
        (interface == HANDLER).then_some((name, version))
    });
    match handler {
        Some((_, version)) if compatible(version, VERSION) => Ok(()),
        Some((name, _)) => Err(ComponentError::OtherVersion {
            found: name.clone(),
        }),
        None if exports.is_empty() => Err(ComponentError::NoHandler {
            exports: "nothing".to_owned(),
        }),
        None => Err(ComponentError::NoHandler {
            exports: exports.join(", "),
        }),
    }
}

fn check_memory(component: &Compiled, limits: &PluginLimits) -> Result<(), ComponentError> {
    // Unknown only for components that import modules, which nobody offers.
    let Some(needs) = component.resources_required() else {
        return Ok(());
    };
    let pages = needs.max_initial_memory_size.unwrap_or(0);
    let needed = pages.saturating_mul(WASM_PAGE);
    if needed > limits.memory {
        return Err(ComponentError::TooMuchMemory {
            needed,
            allowed: limits.memory,
        });
    }
    Ok(())
}

/// Compares the exported functions with `wit/`; the bindings would do so only at instantiation.
fn check_handler(pre: &InstancePre<State>) -> WasmResult<()> {
    let types = pre.instance_type();
    let component = pre.component();
    let name = format!("{HANDLER}@{VERSION}");
    let handler = component.get_export_index(None, &name);
    macro_rules! check {
        ($function:literal: $params:ty => $results:ty) => {
            match component.get_export(handler.as_ref(), $function) {
                Some((ComponentItem::ComponentFunc(function), _)) => function
                    .typecheck::<$params, $results>(&types)
                    .map_err(|error| error.context(concat!("function ", $function)))?,
                _ => wasmtime::bail!(concat!("function ", $function, " is missing")),
            }
        };
    }
    type Answer = Result<Option<wit::Reply>, wit::Failure>;
    check!("start": () => (Result<(), wit::Failure>,));
    check!("handle": (&wit::Kind, &str, &[u8]) => (Answer,));
    check!("handle-batch": (&[wit::Item],) => (Vec<Answer>,));
    check!("notify": (&wit::Notice,) => ());
    check!("health": () => (wit::HealthReport,));
    check!("stop": (&str,) => ());
    Ok(())
}

/// The offered interface that is nearest to the missing one.
fn offered(missing: &str) -> String {
    let interface = missing.split('@').next().unwrap_or(missing);
    if WASI_INTERFACES.contains(&interface) {
        return format!("version {WASI_VERSION} of it");
    }
    let all = || INTERFACES.iter().chain(&WASI_INTERFACES);
    let near = all()
        .map(|name| (strsim::jaro_winkler(name, interface), name))
        .filter(|(likeness, _)| *likeness > 0.9)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, name)) => format!("{name}, for example"),
        None => "messaging, kv, coordination, context and log of mistersmith:agent, and WASI 0.2 \
                 without files, sockets and HTTP"
            .to_owned(),
    }
}

/// An error of the engine with its causes, in one line of bounded length.
pub(super) fn one_line(error: &wasmtime::Error) -> String {
    const MOST: usize = 300;
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    crate::capabilities::clean(&causes.join(": "), MOST)
}

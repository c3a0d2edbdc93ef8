//! Write MisterSmith agents in Rust: one trait, one macro, typed JSON in and out.
//!
//! A complete agent, which counts the words of the texts that it is given as work or by a command:
//!
//! ```
//! use mistersmith_sdk::{Agent, Message, Reply, Result, Work, export_agent, log};
//!
//! struct Words {
//!     texts: u64,
//! }
//!
//! impl Agent for Words {
//!     fn start() -> Result<Self> {
//!         Ok(Self { texts: 0 })
//!     }
//!
//!     fn work(&mut self, item: &Work) -> Result<Reply> {
//!         self.texts += 1;
//!         log::info!(task = item.task(); "text number {}", self.texts);
//!         self.execute(item)
//!     }
//!
//!     fn execute(&mut self, message: &Message) -> Result<Reply> {
//!         Reply::json(&message.text()?.split_whitespace().count())
//!     }
//! }
//!
//! export_agent!(Words);
//!
//! # fn main() -> Result<()> {
//! // And its test, without NATS and without WebAssembly:
//! let mut agent = mistersmith_sdk::mock::Bus::new().start::<Words>()?;
//! assert_eq!(agent.work("work.data.high.words", "one two three")?.to_text(), "3");
//! assert_eq!(agent.agent().texts, 1);
//! # Ok(()) }
//! ```
//!
//! Its `Cargo.toml` says `crate-type = ["cdylib"]`, and
//! `cargo build --release --target wasm32-wasip2` makes the component that the host runs.
//!
//! | to | see |
//! |---|---|
//! | take messages, work, notifications | [`Agent`] |
//! | read what arrived | [`Message`], [`Work`], [`Stage`], [`Question`] |
//! | answer | [`Reply`] |
//! | fail | [`Error`]: `?` on any error asks to try again, [`Error::reject`] gives up |
//! | send, ask, subscribe | [`messaging`] |
//! | ask many agents, start a pipeline, read the leadership | [`coordination`] |
//! | keep values | [`kv`] |
//! | read the configuration, the request id, the time left | [`context`] |
//! | log | [`log`] |
//! | test | [`mock`] |
//!
//! An agent can do nothing that its `plugin.toml` does not grant; a call that is refused returns
//! [`CallError::Denied`], whose text names the line to add. It has no files, no sockets and no
//! environment: the functions of the standard library for these return errors. The time of the day,
//! random numbers, `println!` (which becomes log lines) and `thread::sleep` work. There are no
//! threads.

// The generated code names this crate, here and in the plugins.
#[cfg(target_family = "wasm")]
extern crate self as mistersmith_sdk;

// `wit` is a link to the host's: `cargo package` and `mistersmith new` put the files in its place.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "agent",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "mistersmith_sdk::bindings",
        runtime_path: "mistersmith_sdk::export::rt",
    });
}

pub mod context;
pub mod coordination;
pub mod kv;
pub mod log;
pub mod messaging;
#[cfg(not(target_family = "wasm"))]
pub mod mock;

mod agent;
mod error;
mod handler;
mod headers;
mod imports;
mod message;
mod millis;
mod reply;

pub use agent::{Agent, Event, Health, Leadership};
pub use error::{CallError, Error, MAX_RETRY_DELAY, Result};
pub use message::{Message, Priority, Question, Stage, Work};
pub use reply::Reply;
#[doc(no_inline)]
pub use serde_json::{self, Value, json};

/// What `export_agent!` needs; not for use by hand.
#[doc(hidden)]
pub mod export {
    pub use crate::handler::Component;
    #[cfg(target_family = "wasm")]
    pub use wit_bindgen::rt;
}

/// Makes the crate a component whose agent is the given type. Once in a crate of the type `cdylib`.
///
/// ```
/// # use mistersmith_sdk::{Agent, Result, export_agent};
/// struct Mine;
///
/// impl Agent for Mine {
///     fn start() -> Result<Self> {
///         Ok(Self)
///     }
/// }
///
/// export_agent!(Mine);
/// ```
///
/// Outside WebAssembly, in a test, it only checks that the type is an [`Agent`].
#[macro_export]
macro_rules! export_agent {
    ($agent:ty) => {
        const _: () = {
            struct Exported;

            impl $crate::export::Component for Exported {
                type Agent = $agent;

                fn slot() -> &'static ::std::thread::LocalKey<::std::cell::Cell<Option<$agent>>> {
                    ::std::thread_local! {
                        static AGENT: ::std::cell::Cell<Option<$agent>> =
                            const { ::std::cell::Cell::new(None) };
                    }
                    &AGENT
                }
            }

            $crate::__export!(Exported, $agent);
        };
    };
}

#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($exported:ident, $agent:ty) => {
        $crate::bindings::export_component!($exported with_types_in $crate::bindings);
    };
}

/// In a test nothing is exported; this keeps the agent from being called dead code.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($exported:ident, $agent:ty) => {
        #[allow(dead_code)]
        fn start() -> $crate::Result<$agent> {
            <$agent as $crate::Agent>::start()
        }
    };
}

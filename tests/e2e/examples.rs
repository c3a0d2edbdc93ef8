//! The example plugins as they are shipped, doing what they are examples of.

mod pipeline;
mod report;
mod research;

use harness::{Host, Plugin};

/// The stages of the document pipeline, in their order.
const STAGES: [&str; 4] = ["extract", "preprocess", "analyze", "summarize"];

fn with(host: Host, plugins: &[&str]) -> Host {
    plugins
        .iter()
        .fold(host, |host, name| host.with(Plugin::shipped(name)))
}

//! Error texts: why a plugin cannot have a consumer.

use crate::provision::consumers::{self, Consumer, Obstacle};
use mistersmith_core::names::PluginName;

/// Another plugin has the consumer.
pub(super) fn taken(plugin: &PluginName, wanted: &Consumer, other: &str) -> anyhow::Error {
    let filter = &wanted.filter;
    if wanted.stream == consumers::STAGE_STREAM {
        return anyhow::anyhow!(
            "plugins `{plugin}` and `{other}` both do the stage of `{filter}`: each stage is done by \
             one plugin; take it out of one of them"
        );
    }
    anyhow::anyhow!(
        "plugins `{plugin}` and `{other}` both take `{filter}`: each work item goes to one plugin; \
         change domain or task of one of them"
    )
}

/// Why a consumer could not be had.
pub(super) fn explain(wanted: &Consumer, obstacle: Obstacle) -> anyhow::Error {
    match obstacle {
        Obstacle::Failed(error) => anyhow::Error::new(error)
            .context(format!("consumer `{}` cannot be created", wanted.durable)),
        Obstacle::NameTaken(filter) => anyhow::anyhow!(
            "consumer `{}` exists and takes `{filter}` instead of `{}`; delete it, or rename the domain or stage",
            wanted.durable,
            wanted.filter
        ),
        Obstacle::Overlaps(others) => {
            let names: Vec<String> = others.into_iter().map(|other| other.name).collect();
            anyhow::anyhow!(
                "consumer `{}` overlaps {}",
                wanted.durable,
                names.join(", ")
            )
        }
    }
}

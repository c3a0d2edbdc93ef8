//! A new instance of an agent, until it has started.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::patterns::disposition::Reason;
use crate::patterns::lifecycle::Step;
use crate::runtime::{AgentContext, Heard, Instance, Meters, SharedConfig};

use super::super::Version;
use super::Life;

/// An instance that has started and does not run yet.
pub(super) struct Raised {
    pub(super) instance: Instance,
    pub(super) heard: mpsc::UnboundedReceiver<Box<Heard>>,
    pub(super) config: Arc<SharedConfig>,
}

impl Life {
    /// Instantiates and starts a version.
    pub(super) async fn raise(
        &mut self,
        version: &Version,
        meters: Meters,
    ) -> Result<Raised, Reason> {
        let (hear, heard) = mpsc::unbounded_channel();
        let config = self.port.cell.config_of(&version.spec);
        let context = self.context(version, config.clone(), hear, meters);
        let instantiated = self
            .around
            .runtime
            .instantiate(&version.component, context)
            .await;
        let mut instance = instantiated.map_err(|death| Reason::died(&death))?;
        if self.is_worth_telling() {
            self.announce(&Step::Started);
        }
        let outcome = instance.start().await;
        match Reason::of(&outcome) {
            None => Ok(Raised {
                instance,
                heard,
                config,
            }),
            Some(reason) => Err(Reason::new(
                "start",
                format!("start failed: {} ({})", reason.message, reason.kind),
            )),
        }
    }

    fn context(
        &self,
        version: &Version,
        config: Arc<SharedConfig>,
        inbox: mpsc::UnboundedSender<Box<Heard>>,
        meters: Meters,
    ) -> Arc<AgentContext> {
        let spec = &version.spec;
        Arc::new(AgentContext {
            agent: self.port.id.clone(),
            plugin: spec.name.clone(),
            version: spec.version.clone(),
            permissions: Arc::new(version.permissions.agent(&self.port.id)),
            limits: Arc::new(spec.limits.clone()),
            link: Some(version.link.clone()),
            config,
            inbox,
            requests: version.requests.clone(),
            counters: self.port.cell.counters.clone(),
            audit: self.around.audit.clone(),
            coordination: self.around.coordination.clone(),
            meters,
        })
    }
}

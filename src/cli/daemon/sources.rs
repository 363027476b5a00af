//! Sources: what brings messages in beside the listeners, and what each of them promises.

use std::sync::Arc;

use connectors::contract::{Env, Ingress, Promise, Promised, Shutdown};

use super::Daemon;
use crate::cli::{NamedSource, sources};
use crate::config::Config;

/// The way in for a source that promises this.
pub(super) fn promised(
    ingress: &Arc<dyn Ingress>,
    promise: impl Into<Promise>,
) -> Arc<dyn Ingress> {
    Arc::new(Promised::new(Arc::clone(ingress), promise.into()))
}

impl Daemon {
    /// Starts the sources of the configuration.
    pub(super) fn start_sources(
        &mut self,
        config: &Config,
        env: &Env,
        ingress: &Arc<dyn Ingress>,
        stopped: &Shutdown,
    ) -> anyhow::Result<()> {
        for NamedSource { name, promise, source } in sources(config, env)? {
            let (ingress, stopped) = (promised(ingress, promise), stopped.clone());
            self.spawn("source", async move {
                if let Err(error) = source.run(ingress, stopped).await {
                    tracing::error!(source = name, "the source ended: {error}");
                }
            });
        }
        Ok(())
    }
}

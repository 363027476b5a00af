//! HTTP: what the API and the pages beside it are made of.

use std::sync::Arc;

use anyhow::Context as _;
use connectors::contract::{Env, Ingress, Shutdown, now_ms};
use tokio::net::TcpListener;

use super::listen::pages;
use super::sources::promised;
use super::status::Status;
use crate::api;
use crate::broker::Parting;
use crate::config::Config;
use crate::engine::RuleSet;
use crate::registry::Registry;
use crate::rule::store::{AccessKey, Store};

/// What the secret that links to files are signed with is called in the store.
const LINK_SECRET: &str = "file_links";

/// Puts together what answers need.
pub(super) async fn state(
    config: &Config,
    store: Store,
    registry: Registry,
    status: Status,
    env: &Env,
    ingress: &Arc<dyn Ingress>,
) -> anyhow::Result<api::ApiState> {
    let data_dir = config.path(&config.data_dir);
    let nonces = api::Nonces::open(&data_dir, config.limits.api.nonces, now_ms())
        .with_context(|| format!("cannot read the nonces in {}", data_dir.display()))?;
    let keys = config.access_keys.iter().map(|key| AccessKey {
        id: key.id.clone(),
        secret: key.secret.clone(),
        role: key.role,
        created_ms: 0,
        revoked_ms: None,
    });
    let rules = Arc::clone(&status.rules);
    let ready = status.clone();
    let abnormal = status.clone();
    let spool = status.clone();
    let broker = status.broker.clone();
    let require_key = !config.listen.http.ip().is_loopback();
    let file_links = file_links(config, &store).await?;
    Ok(api::ApiState {
        store,
        registry,
        cut: Arc::new(move |session, cut| {
            match cut {
                api::Cut::Connection => broker.kick(session),
                api::Cut::Session => broker.forget(session),
                api::Cut::Login => broker.end_login(session, Some(Parting::Detached)),
            };
        }),
        rules,
        ingress: promised(ingress, config.promises.http),
        things: status.things.clone(),
        file_links,
        destinations: api::Destinations {
            endpoints: config.endpoints.clone(),
            connections: Arc::clone(&env.connections),
            topics: config.limits.topic(),
        },
        join_permissions: config.lora.join_permissions.clone(),
        keys: keys.collect(),
        nonces: Arc::new(nonces),
        require_key,
        open_details: config.metrics.open,
        pages: pages(config)?.behind_proof(require_key),
        clock: Arc::new(now_ms),
        ready: Arc::new(move || ready.unready()),
        abnormal: Arc::new(move || abnormal.abnormal()),
        promise: status.promise(),
        metrics: Arc::new(move || status.metrics()),
        spool: Arc::new(move || spool.spool()),
        limits: api::ApiLimits {
            actions: config.limits.actions,
            payload: config.limits.payload,
            topics: config.limits.topic(),
            rules: config.limits.api.rules,
            connections: config.limits.api.connections,
            connections_per_address: config.limits.api.connections_per_address,
            requests_per_second: config.limits.api.requests_per_second,
            burst: config.limits.api.burst,
            ..api::ApiLimits::default()
        },
    })
}

async fn file_links(config: &Config, store: &Store) -> anyhow::Result<api::FileLinks> {
    Ok(api::FileLinks {
        signer: api::Signer::new(&store.secret(LINK_SECRET).await?),
        url: config.files.url.clone(),
        valid: config.files.link_age.get(),
    })
}

/// Brings the rules of the API to those of files. One that cannot run is told, and shows in `/readyz`.
pub(super) async fn restore_rules(state: &api::ApiState, rules: &RuleSet) -> anyhow::Result<()> {
    for (name, problem) in api::restore(state).await? {
        tracing::error!(rule = name, "a rule of the API cannot run: {problem}");
        rules.note_failed(name, problem.to_string());
    }
    Ok(())
}

/// Serves requests until told to stop.
pub(super) fn serve(
    listener: TcpListener,
    state: api::ApiState,
    stopped: Shutdown,
) -> impl Future<Output = ()> + Send + 'static {
    let limits = state.limits;
    let serving = api::serve(listener, api::router(state), limits, stopped);
    async move {
        if let Err(error) = serving.await {
            tracing::error!("the HTTP listener ended: {error}");
        }
    }
}

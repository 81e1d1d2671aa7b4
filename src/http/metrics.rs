//! `GET /metrics`: the Prometheus text of a small set of numbers. Counters of requests are kept here; what the store and
//! the tree count themselves is read from them at each scrape. `docs/operations.md` lists them all.

use super::auth::Caller;
use super::error::ApiError;
use super::refusals::Guarded;
use super::{Api, Site, resource};
use crate::actors::{NodeState, NodeView};
use actix_web::{HttpResponse, web};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The numbers of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: &'static str,
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from a read out of memory to a long wait.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Registry::with_prefix("callboard"))
    }
}

impl Metrics {
    /// Adds the numbers of this room to a registry, which may hold others.
    pub fn new(mut registry: Registry) -> Self {
        let requests = Family::default();
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let seconds = Family::new_with_constructor(histogram);
        registry.register("http_requests", "Requests answered", requests.clone());
        registry.register("http_request_seconds", "Seconds until the answer's head", seconds.clone());
        Self { registry, requests, seconds }
    }

    /// A request was answered.
    pub(super) fn answered(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        let labels = RequestLabels { method, route, status };
        self.requests.get_or_create_owned(&labels).inc();
        self.seconds.get_or_create_owned(&RouteLabels { route }).observe(took.as_secs_f64());
    }
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/metrics", "GET").route(web::get().to(scrape)));
}

/// The numbers of this process, for Prometheus
///
/// Names, types, labels and meanings are listed in the operations guide, and stay what they are.
#[utoipa::path(get, path = "/metrics", tag = "operation", operation_id = "read_metrics",
    responses((status = OK, description = "OpenMetrics text", body = String, content_type = OPEN_METRICS), Guarded))]
pub(super) async fn scrape(
    _caller: Caller,
    site: web::Data<Site>,
    api: Option<web::Data<Api>>,
) -> Result<HttpResponse, ApiError> {
    let mut live = Registry::with_prefix("callboard");
    live.register_collector(Box::new(Live { site: site.clone().into_inner(), api: api.map(web::Data::into_inner) }));
    let mut text = String::new();
    let written = encode_all(&mut text, &site.metrics.registry, &live);
    written.map_err(|error| ApiError::internal(format!("the metrics cannot be written: {error}")))?;
    Ok(HttpResponse::Ok().content_type(OPEN_METRICS).body(text))
}

/// Both registries as one text, which has one end.
fn encode_all(text: &mut String, kept: &Registry, live: &Registry) -> fmt::Result {
    prometheus_client::encoding::text::encode_registry(text, kept)?;
    encode(text, live)
}

/// What others count themselves.
struct Live {
    site: Arc<Site>,
    api: Option<Arc<Api>>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(api) = &self.api {
            encode_api(&mut encoder, api)?;
        }
        let mut census = Census::default();
        census.count(&self.site.tree.snapshot());
        census.encode(&mut encoder)
    }
}

/// What a master's store and watchers count.
fn encode_api(encoder: &mut DescriptorEncoder<'_>, api: &Api) -> fmt::Result {
    let stats = api.store.stats();
    let watchers = api.options.max_watchers.saturating_sub(api.watchers.available_permits());
    gauge(encoder, "open_tasks", "Tasks that have not ended", stats.open_tasks)?;
    gauge(encoder, "watchers", "Clients that wait for a task or stream its events", watchers as u64)?;
    counter(encoder, "store_commits", "Commits applied", stats.commits)?;
    let synced = stats.synced_transactions;
    counter(encoder, "store_synced_transactions", "Transactions that waited for the disk", synced)?;
    counter(encoder, "store_fsyncs", "Calls that made the disk write through", stats.fsyncs)?;
    counter(encoder, "store_round_trips", "Questions to a store elsewhere that were answered", stats.round_trips)?;
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let counter = ConstCounter::new(value);
    counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
}

/// The tree by kind.
#[derive(Debug, Default)]
struct Census {
    restarts: BTreeMap<&'static str, u64>,
    actors: BTreeMap<(&'static str, &'static str), i64>,
}

impl Census {
    fn count(&mut self, view: &NodeView) {
        *self.restarts.entry(view.kind).or_default() += u64::from(view.restarts);
        *self.actors.entry((view.kind, state_name(view.state))).or_default() += 1;
        view.children.iter().for_each(|child| self.count(child));
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = ConstCounter::new(0_u64).metric_type();
        let mut family = encoder.encode_descriptor("actor_restarts", "Restarts of actors in the tree", None, kind)?;
        for (kind, restarts) in &self.restarts {
            ConstCounter::new(*restarts).encode(family.encode_family(&[("kind", *kind)])?)?;
        }
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("actors", "Actors in the tree", None, kind)?;
        for ((kind, state), count) in &self.actors {
            ConstGauge::new(*count).encode(family.encode_family(&[("kind", *kind), ("state", *state)])?)?;
        }
        Ok(())
    }
}

fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Starting => "starting",
        NodeState::Running => "running",
        NodeState::BackingOff => "backing_off",
        NodeState::Stopped => "stopped",
        NodeState::Escalated => "escalated",
        NodeState::Frozen => "frozen",
    }
}

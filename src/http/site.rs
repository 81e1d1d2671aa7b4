//! What every listener has, whatever roles run behind it: who may call, what a request may be, whether the process is on
//! its way out, its tree and its numbers.

use super::{ApiKeys, Metrics, Readiness, TokenRule};
use crate::actors::Tree;
use std::time::Duration;

/// What every listener has.
pub struct Site {
    pub(super) tree: Tree,
    pub(super) options: SiteOptions,
    pub(super) readiness: Readiness,
    pub(super) metrics: Metrics,
}

/// The choices of an operator for every listener.
#[derive(Debug, Clone)]
pub struct SiteOptions {
    /// Who may call the public routes; all, as tenant `default`, when none.
    pub keys: Option<ApiKeys>,
    /// What the calls between Callboard's own processes must show.
    pub internal: TokenRule,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How deep a body's JSON may be nested, at most 120.
    pub max_json_depth: usize,
}

impl Default for SiteOptions {
    fn default() -> Self {
        Self {
            keys: None,
            internal: TokenRule::Free,
            max_body_bytes: 2 * 1024 * 1024,
            body_timeout: Duration::from_secs(60),
            max_json_depth: 100,
        }
    }
}

impl Site {
    /// A site over the process's tree.
    pub fn new(tree: Tree, options: SiteOptions) -> Self {
        Self { tree, options, readiness: Readiness::default(), metrics: Metrics::default() }
    }

    /// The same with metrics that hold the numbers of others too.
    #[must_use]
    pub fn with_metrics(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// What tells this listener that the process is on its way out.
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }
}

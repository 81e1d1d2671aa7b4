//! Keeps the store from growing for ever: removes finished tasks once the settings no longer keep them, a few at a time,
//! so that nobody waits behind it.

use crate::actors::{Tree, spawn_task};
use crate::store::{Retention, Store};
use crate::telemetry::Counters;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked what is to go.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How many tasks are removed at once.
const AT_ONCE: usize = 100;
/// The pause between two such removals, for those who wait to write.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one removal may take: longer, and the disk is in trouble.
const PATIENCE: Duration = Duration::from_secs(30);

/// Begins, when the settings say that anything goes. It ends with the tree.
pub(super) fn begin(retention: Retention, tree: &Tree, store: &Arc<dyn Store>, counters: &Arc<Counters>) {
    if !retention.is_off() {
        let keeping = keep_to(retention, store.clone(), counters.clone());
        // Nobody waits for it: the tree ends it.
        drop(spawn_task(&tree.root(), "retention", keeping));
    }
}

async fn keep_to(retention: Retention, store: Arc<dyn Store>, counters: Arc<Counters>) {
    loop {
        let removed = remove(retention, &*store, &counters).await;
        if removed > 0 {
            tracing::info!(tasks = removed, "finished tasks were removed, as retain_for and retain_tasks say");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Removes all that is to go at this moment; gives how many that were.
async fn remove(retention: Retention, store: &dyn Store, counters: &Counters) -> u64 {
    let mut all = 0;
    loop {
        let query = retention.at(store.now(), None);
        let removed = match tokio::time::timeout(PATIENCE, store.remove_finished(query, AT_ONCE)).await {
            Ok(Ok(removed)) => removed,
            Ok(Err(error)) => {
                tracing::warn!(%error, "finished tasks could not be removed; it is tried again");
                return all;
            }
            Err(_) => {
                tracing::warn!("the store does not come to removing finished tasks; it is tried again");
                return all;
            }
        };
        all += removed.tasks;
        counters.tasks_removed.inc_by(removed.tasks);
        if !removed.more {
            return all;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

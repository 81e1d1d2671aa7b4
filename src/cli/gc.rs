//! `callboard gc`: removes finished tasks from a store that no server has open, by age, by number, or as the settings say.

use super::args::GcArgs;
use super::environment::Environment;
use super::exit::{Code, Exit, Outcome};
use super::output::print;
use super::store::{unavailable, with_store};
use callboard::store::{Retention, Store};
use callboard::task::Tenant;
use std::sync::Arc;

/// How many tasks are removed at once.
const AT_ONCE: usize = 500;

/// Runs it.
pub fn gc(args: &GcArgs, environment: &Environment) -> Outcome {
    let retention = Retention { age: args.older_than, count: args.keep };
    if retention.is_off() {
        let message = "nothing says what may go: give --older-than, such as 30days, or --keep, such as 10000";
        return Err(Exit::new(Code::Settings, message));
    }
    let tenant = args.tenant.as_deref().map(Tenant::parse).transpose();
    let tenant = tenant.map_err(|error| Exit::new(Code::Settings, error.to_string()))?;
    with_store(&args.store, environment, true, |store| async move {
        let query = retention.at(store.now(), tenant);
        if args.dry_run {
            let meant = store.count_finished(query).await.map_err(unavailable)?;
            return print(&format!("{meant} finished tasks would be removed"));
        }
        let removed = remove(store, query).await?;
        print(&format!("{removed} finished tasks removed"))
    })
}

async fn remove(store: Arc<dyn Store>, query: callboard::store::RetentionQuery) -> Result<u64, Exit> {
    let mut all = 0;
    loop {
        let removed = store.remove_finished(query.clone(), AT_ONCE).await.map_err(unavailable)?;
        all += removed.tasks;
        if !removed.more {
            return Ok(all);
        }
    }
}

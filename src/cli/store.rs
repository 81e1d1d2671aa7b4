//! The store by itself, for commands that work on it while no server does: opened as the settings say, and closed in order
//! however the work went.

use super::args::StoreArgs;
use super::environment::{Environment, Talk};
use super::exit::{Code, Exit};
use super::host::in_a_runtime;
use callboard::node::open_store;
use callboard::settings::StoreUrl;
use callboard::store::{Store, StoreError};
use std::sync::Arc;

/// Opens the store, lets the work be done, and closes it.
pub fn with_store<T, F>(
    args: &StoreArgs,
    environment: &Environment,
    must_exist: bool,
    work: impl FnOnce(Arc<dyn Store>) -> F,
) -> Result<T, Exit>
where
    F: Future<Output = Result<T, Exit>>,
{
    let settings = environment.settings(args.config.as_deref(), &args.overrides(), Talk::Quiet)?;
    match &settings.store {
        StoreUrl::Memory => {
            let message = "a store in memory is gone with its process: choose --store sqlite:PATH or redis://HOST";
            return Err(Exit::new(Code::Settings, message));
        }
        StoreUrl::Sqlite(path) if must_exist && !path.exists() => {
            let message = format!("there is no store {}: check --store or CALLBOARD_STORE", settings.store);
            return Err(Exit::new(Code::Unavailable, message));
        }
        StoreUrl::Sqlite(_) | StoreUrl::Redis(_) => {}
    }
    in_a_runtime(async {
        let store = open_store(&settings).await.map_err(unavailable)?;
        let worked = work(store.clone()).await;
        let closed = store.close().await;
        let worked = worked?;
        closed.map_err(unavailable)?;
        Ok(worked)
    })?
}

/// What a store's trouble means to whoever ran the command.
pub fn unavailable(error: StoreError) -> Exit {
    Exit::new(Code::Unavailable, error.to_string())
}

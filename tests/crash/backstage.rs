//! Where clients and wires run: a thread of their own, because starting a process and waiting for its end hold up the
//! test's.

use std::sync::OnceLock;
use tokio::runtime::{Builder, Handle};

/// The thread's runtime, which lasts as long as the test.
pub fn backstage() -> &'static Handle {
    static HANDLE: OnceLock<Handle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    })
}

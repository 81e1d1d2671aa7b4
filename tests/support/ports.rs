//! Ports for servers that start anew at the place where they were: nobody else gets one while the test lives, neither the
//! system's clients nor another test, whose processes and threads run at the same time.

use parking_lot::Mutex;
use std::fs::File;
use std::net::TcpListener;
use std::ops::Range;

/// The system gives these to nobody by itself.
const PORTS: Range<u16> = 20_000..32_000;

/// The locks of this process' ports. The kernel lets them go when the process ends, however it does.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody has, and that no other test takes as long as this process lives.
pub fn free_port() -> u16 {
    // Files of another user could not be locked.
    let user = std::env::var("USER").unwrap_or_default();
    let folder = std::env::temp_dir().join(format!("callboard-test-ports-{user}"));
    std::fs::create_dir_all(&folder).unwrap();
    loop {
        let port = fastrand::u16(PORTS);
        let lock = File::create(folder.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            TAKEN.lock().push(lock);
            return port;
        }
    }
}

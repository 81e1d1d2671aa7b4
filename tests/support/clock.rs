//! A clock for one process alone, which a test can set: a few lines of C, preloaded, add to the machine's time what a file
//! says. A library that does the same, libfaketime, cannot be had with Redis: it clashes with its allocator.
#![allow(dead_code, reason = "each test takes what it needs")]

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// One process's clock.
#[derive(Debug, Clone)]
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// One that is right, kept in this file.
    pub fn at(file: PathBuf) -> Self {
        fs::write(&file, 0_i64.to_ne_bytes()).unwrap();
        Self { file }
    }

    /// Sets it so many seconds before or after the machine's.
    pub fn set(&self, ahead_s: i64) {
        let file = fs::File::options().write(true).open(&self.file).unwrap();
        file.write_all_at(&(ahead_s * 1_000_000_000).to_ne_bytes(), 0).unwrap();
    }

    /// Lets a process go by it.
    pub fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("CLOCK_FILE", &self.file);
    }
}

/// The compiled lines, made once for each test program.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/clock.c");
        let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{}.so", std::process::id()));
        let made =
            Command::new("cc").args(["-O2", "-Wall", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).output();
        let made = made.expect("a C compiler is not there: run scripts/setup.sh");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        library
    })
}

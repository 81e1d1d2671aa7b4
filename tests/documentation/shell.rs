//! Runs what a page shows: its `sh` blocks, in order, by one bash in a folder that holds the examples only. What the page starts in the
//! background belongs to the bash's process group, and ends with it.

use super::elsewhere::is_elsewhere;
use super::page::{Page, root};
use super::support::ports::free_port;
use super::support::{PATIENCE, clean};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// The address that people read; a test puts a free one into its place.
const SHOWN: &str = ":8000";

/// What each block of a page printed to standard output; empty for those that were not run.
pub struct Printed(Vec<String>);

/// A bash with everything that it started.
struct Group(Child);

impl Group {
    fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::yield_now();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.0.wait();
    }
}

impl Printed {
    /// Block by block.
    pub fn blocks(&self) -> &[String] {
        &self.0
    }
}

/// Runs a page.
pub fn run(page: &Page) -> Printed {
    let (folder, notes) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_port();
    // What a page runs of the clone without building it.
    std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
    let script = notes.path().join("page.sh");
    fs::write(&script, text(page, port, notes.path())).unwrap();
    let said = notes.path().join("said");
    let mut bash = clean("bash");
    bash.args(["-euo", "pipefail"]).arg(&script).current_dir(folder.path());
    let program = Path::new(env!("CARGO_BIN_EXE_callboard")).parent().unwrap();
    bash.env("PATH", format!("{}:{}", program.display(), std::env::var("PATH").unwrap()));
    bash.env("HOME", folder.path()).env("CALLBOARD_LISTEN", format!("127.0.0.1:{port}"));
    bash.env("CALLBOARD_SERVER", format!("http://127.0.0.1:{port}"));
    // Files, not pipes: a server in the background would keep a pipe open.
    bash.stdin(Stdio::null())
        .stdout(File::create(&said).unwrap())
        .stderr(File::options().append(true).open(&said).unwrap());
    let status = Group(bash.process_group(0).spawn().unwrap()).end();
    let said = fs::read_to_string(&said).unwrap();
    let printed = |at: usize| fs::read_to_string(printed_to(notes.path(), at)).unwrap_or_default();
    let printed: Vec<String> = (0..page.blocks.len()).map(printed).collect();
    assert!(status.success(), "{}: {status}\n{said}\n{}", page.name, printed.join("\n"));
    Printed(printed)
}

fn printed_to(notes: &Path, at: usize) -> std::path::PathBuf {
    notes.join(format!("printed-{at}"))
}

/// The page's script. What a block prints goes to a file of its own; the command that fails is named.
fn text(page: &Page, port: u16, notes: &Path) -> String {
    let mut script = "trap 'echo \"this failed: $BASH_COMMAND\" >&2' ERR\n".to_owned();
    for (at, block) in page.blocks.iter().enumerate().filter(|(_, block)| block.language == "sh") {
        script.push_str(&format!("exec > '{}'\n", printed_to(notes, at).display()));
        for line in block.text.lines() {
            script.push_str(if is_elsewhere(line) { ":" } else { line });
            script.push('\n');
        }
    }
    script.replace(SHOWN, &format!(":{port}"))
}

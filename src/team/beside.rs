//! Where the files are that a team's file names: in a folder, or inside the program for the default team.

use crate::agents::PROMPT_FILES;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The most that a team's file or a prompt may hold, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// The place that paths in a team's file count from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Beside {
    /// Inside the program.
    Program,
    /// A folder.
    Folder(PathBuf),
}

impl Beside {
    /// The folder that holds a file.
    pub fn of(file: &Path) -> Self {
        Self::Folder(file.parent().unwrap_or(Path::new("")).to_owned())
    }

    /// A path in the team's file as seen from where the program was started.
    pub fn path(&self, named: &str) -> PathBuf {
        match self {
            Self::Program => named.into(),
            Self::Folder(folder) => folder.join(named),
        }
    }

    /// The text of a file that the team's file names.
    pub fn text(&self, named: &str) -> Result<String, String> {
        match self {
            Self::Program => {
                let found = PROMPT_FILES.iter().find(|(path, _)| *path == named);
                found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| format!("there is no {named} in the program"))
            }
            Self::Folder(_) => text_of(&self.path(named)),
        }
    }
}

/// The text of a file, with the remedy where it cannot be had.
pub(super) fn text_of(path: &Path) -> Result<String, String> {
    let closed = |error| format!("{} cannot be read ({error}): check the path and its permissions", path.display());
    let mut text = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text)).map_err(closed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("{} is larger than {MAX_BYTES} bytes: shorten it", path.display()));
    }
    String::from_utf8(text).map_err(|_| format!("{} is not UTF-8: save it as UTF-8", path.display()))
}

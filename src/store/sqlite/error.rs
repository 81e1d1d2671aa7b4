//! What SQLite says, in words that tell what happened, why, and what to do next.

use crate::store::StoreError;
use rusqlite::ErrorCode;
use std::path::Path;

/// Why a piece of work did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// SQLite failed: nothing of the whole batch is written.
    Sql(rusqlite::Error),
    /// This piece is refused, having written nothing; the others go on.
    Refused(StoreError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<std::io::Error> for Fault {
    /// A file or a thread that could not be had.
    fn from(error: std::io::Error) -> Self {
        let what = format!("the system refused a file or a thread that it needs ({error}): see this user's limits");
        Self::Refused(StoreError::Unavailable(what.into()))
    }
}

impl Fault {
    /// As the store's own error.
    pub fn told(self, path: &Path) -> StoreError {
        match self {
            Self::Sql(error) => explain(&error, path),
            Self::Refused(error) => error,
        }
    }
}

/// Puts an error of SQLite into words.
pub(super) fn explain(error: &rusqlite::Error, path: &Path) -> StoreError {
    let file = path.display();
    let sentence = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => format!(
            "{file} cannot grow because the disk is full or its size limit is reached; nothing was written: free some \
             space, the next write tries again"
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
            "another program holds {file} locked; nothing was written: end that program's transaction, the next write \
             tries again"
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            format!("{file} may not be written; nothing was: make the file and its folder writable ({error})")
        }
        Some(ErrorCode::CannotOpen) => {
            format!("{file} cannot be opened: check that its folder exists and may be written ({error})")
        }
        Some(ErrorCode::SystemIoFailure) => {
            format!(
                "the disk failed under {file}; nothing was written: check the disk, the next write tries again ({error})"
            )
        }
        Some(ErrorCode::NotADatabase) => {
            return StoreError::Corrupt(
                format!("{file} is not a database: choose another file, or move this one away").into(),
            );
        }
        Some(ErrorCode::DatabaseCorrupt) => {
            return StoreError::Corrupt(format!("{file} is damaged: restore it from a copy ({error})").into());
        }
        _ => format!("{file}: {error}; nothing was written, the next write tries again"),
    };
    StoreError::Unavailable(sentence.into())
}

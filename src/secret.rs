//! Secrets: texts that no log, error or debug print shows, and the places where settings may say they stand.

use std::collections::HashMap;
use std::fmt;
use std::fs;

/// A text that nobody may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the one that it opens the door to.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a secret is not where it is said to be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No such variable.
    #[error("the environment has no variable {0}: set it, or name another one after env:")]
    NoVariable(String),
    /// No such file, or one that may not be read.
    #[error("the file {path} cannot be read ({why}): name one that this program may read after file:")]
    Unreadable {
        /// Which.
        path: String,
        /// Why not.
        why: String,
    },
    /// There is nothing in it.
    #[error("there is nothing in {0}")]
    Empty(String),
}

/// The largest file that is read as a secret, in bytes.
const MOST_BYTES: u64 = 64 * 1024;

/// What a setting's text stands for: `env:NAME` a variable's value, `file:PATH` a file's content without the white space
/// around it, anything else itself.
///
/// # Errors
/// [`SecretError`], which shows the place and never what is there.
pub fn found(text: &str, environment: &HashMap<String, String>) -> Result<Option<String>, SecretError> {
    let value = if let Some(name) = text.strip_prefix("env:") {
        environment.get(name).cloned().ok_or_else(|| SecretError::NoVariable(name.to_owned()))?
    } else if let Some(path) = text.strip_prefix("file:") {
        let unreadable = |why: String| SecretError::Unreadable { path: path.to_owned(), why };
        let size = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > MOST_BYTES {
            return Err(unreadable(format!("it has more than {MOST_BYTES} bytes")));
        }
        fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?
    } else {
        return Ok(None);
    };
    match value.trim() {
        "" => Err(SecretError::Empty(text.to_owned())),
        value => Ok(Some(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_where_it_is_said_to_stand() {
        let environment =
            HashMap::from([("KEY".to_owned(), " s3cret\n".to_owned()), ("NONE".to_owned(), " ".to_owned())]);
        let found = |text: &str| found(text, &environment);
        assert_eq!(found("env:KEY").unwrap().as_deref(), Some("s3cret"));
        assert_eq!(found("s3cret"), Ok(None), "it is the secret itself");
        assert_eq!(found("env:OTHER"), Err(SecretError::NoVariable("OTHER".into())));
        assert_eq!(found("env:NONE"), Err(SecretError::Empty("env:NONE".into())));
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = format!("file:{}", file.path().display());
        assert!(matches!(found(&text), Err(SecretError::Empty(_))));
        fs::write(file.path(), "from-a-file\n").unwrap();
        assert_eq!(found(&text).unwrap().as_deref(), Some("from-a-file"));
        fs::write(file.path(), vec![b'x'; MOST_BYTES as usize + 1]).unwrap();
        assert!(matches!(found(&text), Err(SecretError::Unreadable { .. })));
        assert!(matches!(found("file:/nowhere/at/all"), Err(SecretError::Unreadable { .. })));
        assert_eq!(format!("{:?}", Secret::new("s3cret")), "***");
    }
}

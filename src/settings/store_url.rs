//! How a store is named in settings: `memory:` or `sqlite:PATH`. It only names one; the node opens it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Which store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// In this process's memory: gone with it.
    Memory,
    /// In a file.
    Sqlite(PathBuf),
}

/// A text that names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no store: use `memory:` or `sqlite:PATH`, for example `sqlite:./callboard.db`")]
pub struct UnknownStore(String);

impl FromStr for StoreUrl {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            _ => Err(UnknownStore(text.into())),
        }
    }
}

impl StoreUrl {
    /// Whether other processes can have it open at the same time.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Self::Memory | Self::Sqlite(_))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_and_nothing_else_is() {
        assert_eq!("memory:".parse(), Ok(StoreUrl::Memory));
        assert_eq!("sqlite:./a.db".parse(), Ok(StoreUrl::Sqlite("./a.db".into())));
        for wrong in ["", "memory", "memory:x", "sqlite:", "sqlite", "redis://host"] {
            assert_eq!(wrong.parse::<StoreUrl>(), Err(UnknownStore(wrong.into())));
        }
    }
}

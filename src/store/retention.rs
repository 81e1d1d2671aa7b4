//! Which finished tasks may go. A task that is open is never meant, whatever a query says.

use crate::task::{At, Tenant};
use std::time::Duration;

/// How long finished tasks are kept; each limit is enough by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// For so long after their end; for ever when none.
    pub age: Option<Duration>,
    /// So many of them, those that ended last; all when none.
    pub count: Option<u64>,
}

impl Retention {
    /// Whether anything ever goes.
    pub fn is_off(self) -> bool {
        self.age.is_none() && self.count.is_none()
    }

    /// What is to go at this moment, of one tenant's tasks or of all.
    pub fn at(self, now: At, tenant: Option<Tenant>) -> RetentionQuery {
        let before = |age: Duration| At(now.0.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
        RetentionQuery { tenant, ended_before: self.age.map(before), keep: self.count }
    }
}

/// Which finished tasks are meant: those that ended before a moment, and those beyond the newest so many. With neither
/// limit, none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionQuery {
    /// Whose; all tenants' when none.
    pub tenant: Option<Tenant>,
    /// Those that ended before this moment.
    pub ended_before: Option<At>,
    /// Those beyond the so many that ended last.
    pub keep: Option<u64>,
}

/// What became of a request to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// How many tasks are gone.
    pub tasks: u64,
    /// Whether others that were meant are left.
    pub more: bool,
}

//! The names of things: task, step, agent, capability, tenant, incarnation, commit, each a type of its own.
//! Text from outside becomes an id only through `parse`, which trims and bounds it; inside, ids are cheap to clone.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// Why a text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Shorter, after trimming, than the wire contract allows.
    #[error("{what} must have at least {min} characters")]
    TooShort {
        /// Which id.
        what: &'static str,
        /// The least number of characters.
        min: usize,
    },
    /// Longer than we store.
    #[error("{what} must have at most {max} characters")]
    TooLong {
        /// Which id.
        what: &'static str,
        /// The greatest number of characters.
        max: usize,
    },
    /// A control character inside.
    #[error("{what} must not contain control characters")]
    Control {
        /// Which id.
        what: &'static str,
    },
}

/// What an id is after trimming, for the API's document: no control character, and no white space at its ends.
const ID_PATTERN: &str = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$";

macro_rules! text_id {
    ($(#[doc = $doc:literal])* $name:ident, $what:literal, $min:literal, $max:literal) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Trims and bounds a text from outside.
            ///
            /// # Errors
            /// [`InvalidId`] when it is too short, too long or holds control characters.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let text = text.trim();
                let length = text.chars().count();
                if length < $min {
                    return Err(InvalidId::TooShort { what: $what, min: $min });
                }
                if length > $max {
                    return Err(InvalidId::TooLong { what: $what, max: $max });
                }
                if text.chars().any(char::is_control) {
                    return Err(InvalidId::Control { what: $what });
                }
                Ok(Self(text.into()))
            }

            /// An id from a text this program made itself.
            pub fn trusted(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// An id that this program puts together, in a text of just its length.
            pub fn of_parts(parts: &[&str]) -> Self {
                Self(parts.concat().into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for Arc<str> {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(ID_PATTERN));
                let text = text.min_length(Some($min)).max_length(Some($max));
                text.description(Some(concat!($($doc),*).trim())).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    };
}

text_id! {
    /// A task's name, unique in a store over all tenants (2 to 200 characters).
    TaskId, "task_id", 2, 200
}
text_id! {
    /// A step's name, unique in its task; on the wire `sub_id`.
    StepId, "sub_id", 1, 220
}
text_id! {
    /// An agent's name (3 to 100 characters).
    AgentId, "agent_id", 3, 100
}
text_id! {
    /// What an agent can do: `analyze`, `retrieve`, `evaluate`, `finalize`, or the user's own.
    Capability, "capability", 1, 100
}
text_id! {
    /// Whose data it is; `default` when nobody says.
    Tenant, "tenant", 1, 100
}
text_id! {
    /// One life of an agent: a new one each time its process or actor starts over.
    Incarnation, "incarnation", 1, 100
}
text_id! {
    /// A budget scope: `tenant:…`, `task:…` or a name of the user's.
    Scope, "budget scope", 1, 100
}
text_id! {
    /// One commit's name; the same name twice is the same commit.
    CommitId, "commit id", 1, 100
}
text_id! {
    /// One model call's name, for dropping it and asking after it.
    CallId, "call id", 1, 100
}
text_id! {
    /// A client's own name for a submission (`Idempotency-Key`).
    IdempotencyKey, "Idempotency-Key", 1, 200
}

impl Default for Tenant {
    fn default() -> Self {
        Self::trusted("default")
    }
}

/// A task with its tenant: what every store key begins with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskKey {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name.
    pub id: TaskId,
}

impl std::hash::Hash for TaskKey {
    /// By the id alone: it is unique in a store, and keys are hashed many times in a task's life.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.id)
    }
}

/// The number of a try at a step, from 1; numbers only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptNo(pub u32);

impl fmt::Display for AttemptNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A step's place in its plan, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepIndex(pub u16);

impl StepIndex {
    /// The index as a position in a list of steps.
    pub fn position(self) -> usize {
        usize::from(self.0)
    }
}

/// A moment by the store's clock: milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct At(pub u64);

impl At {
    /// This moment, some milliseconds later.
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds since an earlier moment; 0 when that is later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_numbers_are_shown_as_people_write_them() {
        let key = TaskKey { tenant: Tenant::trusted("acme"), id: TaskId::trusted("t-1") };
        assert_eq!(format!("{key} #{}", AttemptNo(3)), "acme/t-1 #3");
    }

    #[test]
    fn ids_are_trimmed_and_bounded() {
        assert_eq!(TaskId::parse("  ab ").unwrap().as_str(), "ab");
        assert!(matches!(TaskId::parse(" a "), Err(InvalidId::TooShort { min: 2, .. })));
        assert!(matches!(TaskId::parse(&"x".repeat(201)), Err(InvalidId::TooLong { .. })));
        assert!(matches!(AgentId::parse("a\nbc"), Err(InvalidId::Control { .. })));
        assert_eq!(TaskId::parse("任務").unwrap().as_str(), "任務");
    }
}

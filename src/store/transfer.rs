//! What a store gives and takes when tasks are backed up or moved: whole records, each of which stands for itself. Every
//! store reads and writes the same ones, so that any can take what any other gave.

mod export;
mod import;

pub use export::{ExportError, FORMAT, Header, Line, Lines, Totals};
pub use import::{ImportError, ImportReport, Importer, Refused};

use super::Balance;
use super::ledger::Reserved;
use crate::task::{
    AgentId, At, BrokenLog, CallId, Digest, Event, EventKind, IdempotencyKey, InvalidId, Json, Payload, SCHEMA, Scope,
    Status, Task, TaskId, TaskKey, Tenant, replay,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which part of a store is exported. Without any choice it is the whole; shared context goes with whole tenants, and
/// budgets, which all tenants may share, with the whole store only.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExportQuery {
    /// Whose; all tenants' when none.
    pub tenant: Option<Tenant>,
    /// Only these; all when empty.
    pub ids: Vec<TaskId>,
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those accepted at this moment or later.
    pub since: Option<At>,
    /// Only those accepted before this moment.
    pub until: Option<At>,
}

impl ExportQuery {
    /// Whether it means all of a tenant's, or of everybody's, tasks.
    pub(super) fn takes_all_tasks(&self) -> bool {
        self.ids.is_empty() && self.status.is_none() && self.since.is_none() && self.until.is_none()
    }

    /// Whether it means this task.
    pub(super) fn takes(&self, task: &Task) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == task.key.tenant)
            && (self.ids.is_empty() || self.ids.contains(&task.key.id))
            && self.status.is_none_or(|status| status == task.status())
            && self.since.is_none_or(|since| task.accepted_at >= since)
            && self.until.is_none_or(|until| task.accepted_at < until)
    }
}

/// How far an export is; from [`ExportPage::next`].
#[derive(Debug, Clone, PartialEq)]
pub enum ExportPlace {
    /// Behind the task with this ordinal.
    Tasks(u64),
    /// Behind this field of this tenant's shared context.
    Context(Option<(Tenant, Arc<str>)>),
    /// Behind this scope's budget.
    Budgets(Option<Scope>),
    /// Behind this call's reservation.
    Reservations(Option<CallId>),
}

impl ExportPlace {
    /// The beginning.
    pub const START: Self = Self::Tasks(0);

    /// What follows once everything of this kind is read.
    pub(super) fn next_kind(&self, query: &ExportQuery) -> Option<Self> {
        match self {
            Self::Tasks(_) => query.takes_all_tasks().then_some(Self::Context(None)),
            Self::Context(_) => query.tenant.is_none().then_some(Self::Budgets(None)),
            Self::Budgets(_) => Some(Self::Reservations(None)),
            Self::Reservations(_) => None,
        }
    }
}

/// The most records of one page.
pub(super) const PAGE_RECORDS: usize = 256;
/// The size, in bytes of stored text, past which a page takes no further task.
pub(super) const PAGE_BYTES: usize = 1024 * 1024;

/// A part of an export; each of its tasks is as it stood at one moment.
#[derive(Debug)]
pub struct ExportPage {
    /// In a fixed order: tasks as they were accepted, the rest by name.
    pub records: Vec<Record>,
    /// Where the next page begins; none on the last.
    pub next: Option<ExportPlace>,
}

/// One thing that a store keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A task with all that belongs to it.
    Task(Box<TaskRecord>),
    /// A field of a tenant's shared context.
    Context(ContextRecord),
    /// How a budget stands.
    Budget(BudgetRecord),
    /// A call's reservation.
    Reservation(ReservationRecord),
}

/// A task with all that belongs to it. Who holds its attempts does not: leases are for the process that gave them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskRecord {
    /// Its folded state.
    pub state: Arc<Task>,
    /// Its whole log.
    pub events: Vec<Event>,
    /// What is kept beside it, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payloads: Vec<(Arc<str>, Json)>,
    /// What makes a repeated submission recognisable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submission: Option<KeptSubmission>,
    /// Each agent's reasoning, by agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traces: Vec<(AgentId, Vec<Json>)>,
}

/// What a store remembers of a submission. Whether the client chose the task's id is not among it: a repetition that
/// names the id is told by the digest either way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptSubmission {
    /// Of objective, context and options.
    #[serde(with = "hex")]
    pub digest: Digest,
    /// The client's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<IdempotencyKey>,
}

/// A field of a tenant's shared context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContextRecord {
    /// Whose.
    pub tenant: Tenant,
    /// Its name.
    pub field: Arc<str>,
    /// What it holds.
    pub value: Json,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BudgetRecord {
    /// Whose.
    pub scope: Scope,
    /// Its limit, and what of it is used.
    pub balance: Balance,
}

/// A call's reservation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReservationRecord {
    /// Which call.
    pub call: CallId,
    /// What is set aside, and until when.
    pub reserved: Reserved,
}

/// What became of a record handed to a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It is written, or would be.
    Written,
    /// The store has it already; a task may have gone on there.
    AlreadyThere,
    /// The store has something else in its place, and keeps that.
    Refused(Differs),
}

/// What a store has in an imported record's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Differs {
    /// Another tenant has the id.
    #[error("the store has a task of this id for another tenant: ids are unique over all tenants")]
    Tenant,
    /// The task went another way.
    #[error("the store has another task of this id, or an older state of this one: remove or keep that one")]
    Task,
    /// The idempotency key is another task's.
    #[error("its Idempotency-Key belongs to another task in the store")]
    IdempotencyKey,
    /// The value is another.
    #[error("the store has another value for it, and keeps that")]
    Value,
}

/// Why a record cannot be what a store gave.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsound {
    /// Its schema is to come.
    #[error("it has schema {0}, and this program knows {SCHEMA}: use a newer callboard")]
    Newer(u16),
    /// It has an id that cannot be one.
    #[error("{0}")]
    Id(#[from] InvalidId),
    /// Its log cannot be folded.
    #[error("{0}")]
    Log(#[from] BrokenLog),
    /// Its log folds to another state.
    #[error("its events do not give its state: the file was changed or damaged")]
    State,
    /// It refers to something that is not there.
    #[error("it refers to a payload {0:?} that is not there: the file was changed or damaged")]
    Payload(Arc<str>),
}

impl TaskRecord {
    /// Whether it is whole, and its log gives exactly its state.
    ///
    /// # Errors
    /// [`Unsound`] says what is wrong.
    pub fn check(&self) -> Result<(), Unsound> {
        let state = &self.state;
        if !state.readable() {
            return Err(Unsound::Newer(state.schema));
        }
        if TaskId::parse(state.key.id.as_str())? != state.key.id {
            return Err(Unsound::Id(InvalidId::Control { what: "task_id" }));
        }
        let tenant = Tenant::parse(state.key.tenant.as_str())?;
        if tenant != state.key.tenant {
            return Err(Unsound::Id(InvalidId::Control { what: "tenant" }));
        }
        let folded = replay(&state.key, &self.events)?;
        if (Task { schema: state.schema, ..folded }) != **state {
            return Err(Unsound::State);
        }
        let there: BTreeSet<&str> = self.payloads.iter().map(|(name, _)| name.as_ref()).collect();
        let missing = self.events.iter().filter_map(payload).find_map(|payload| match payload {
            Payload::Stored { name, .. } => (!there.contains(name.as_ref())).then_some(name),
            Payload::Inline(_) => None,
        });
        missing.map_or(Ok(()), |name| Err(Unsound::Payload(name.clone())))
    }

    /// What becomes of it in a store that has these already: the task that has its id, with its log, and the task that
    /// has its idempotency key. None when it is new.
    pub(super) fn judged(&self, by_id: Option<(&TaskKey, &[Event])>, by_name: Option<&TaskKey>) -> Option<Imported> {
        let key = &self.state.key;
        match by_id {
            Some((other, _)) if other != key => Some(Imported::Refused(Differs::Tenant)),
            // It may have gone on since.
            Some((_, events)) if events.starts_with(&self.events) => Some(Imported::AlreadyThere),
            Some(_) => Some(Imported::Refused(Differs::Task)),
            None => by_name.map(|_| Imported::Refused(Differs::IdempotencyKey)),
        }
    }
}

/// The payload that an event brings.
fn payload(event: &Event) -> Option<&Payload> {
    match &event.kind {
        EventKind::Accepted { request, .. } => Some(request),
        EventKind::StepSucceeded { output, .. } => Some(output),
        _ => None,
    }
}

/// What becomes of a value where there is one already.
pub(super) fn judged_value<T: PartialEq>(there: Option<T>, new: &T) -> Option<Imported> {
    let there = there?;
    Some(if there == *new { Imported::AlreadyThere } else { Imported::Refused(Differs::Value) })
}

/// What of a task's budget scopes is the task's own, and goes with it.
pub(super) fn own_scope(id: &TaskId) -> Scope {
    Scope::trusted(format!("task:{id}"))
}

/// The digest that a text of 64 hexadecimal digits stands for.
pub(super) fn digest_of(text: &str) -> Option<Digest> {
    let byte = |at: usize| text.get(2 * at..2 * at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let mut bytes = [0; 32];
    for (at, place) in bytes.iter_mut().enumerate() {
        *place = byte(at)?;
    }
    (text.len() == 64).then_some(Digest(bytes))
}

/// Digests as hexadecimal text.
mod hex {
    use crate::task::Digest;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::digest_of(&text).ok_or_else(|| D::Error::custom("a digest has 64 hexadecimal digits"))
    }
}

//! A store as JSON lines: a header, one record a line, and a last line that counts them, without which the text is known
//! to be cut off. It reads page by page, so a store of any size needs the memory of one page.

use super::{BudgetRecord, ContextRecord, ExportPlace, ExportQuery, Record, ReservationRecord, TaskRecord};
use crate::store::{Store, StoreError};
use crate::task::{At, SCHEMA, Tenant};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// The version of the form of these lines that this program writes, and the newest that it reads.
pub const FORMAT: u16 = 1;

/// One line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first.
    CallboardExport(Header),
    /// A task.
    Task(Box<TaskRecord>),
    /// A field of shared context.
    Context(ContextRecord),
    /// A budget.
    Budget(BudgetRecord),
    /// A reservation.
    Reservation(ReservationRecord),
    /// The last.
    End(Totals),
}

/// What the lines are, and whose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The form of the lines: [`FORMAT`].
    pub format: u16,
    /// The newest schema of events and states that they may hold.
    pub schema: u16,
    /// The program's version, for people.
    #[serde(default)]
    pub version: String,
    /// From which store, for people.
    #[serde(default)]
    pub store: String,
    /// When, in milliseconds since 1970.
    #[serde(default)]
    pub exported_at: At,
    /// Of which tenant only; of all when none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Tenant>,
}

/// How many lines of each kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Tasks.
    pub tasks: u64,
    /// Fields of shared context.
    pub context: u64,
    /// Budgets.
    pub budgets: u64,
    /// Reservations.
    pub reservations: u64,
}

/// Why an export cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record has no JSON.
    #[error("a record has no form as JSON: {0}")]
    Form(#[from] serde_json::Error),
}

/// A store's lines, one after the other.
pub struct Lines {
    store: Arc<dyn Store>,
    query: ExportQuery,
    stage: Stage,
    page: VecDeque<Record>,
    totals: Totals,
}

enum Stage {
    Header,
    Records(ExportPlace),
    End,
    Done,
}

impl Totals {
    /// Counts one record.
    pub fn count(&mut self, record: &Record) {
        *match record {
            Record::Task(_) => &mut self.tasks,
            Record::Context(_) => &mut self.context,
            Record::Budget(_) => &mut self.budgets,
            Record::Reservation(_) => &mut self.reservations,
        } += 1;
    }
}

impl From<Record> for Line {
    fn from(record: Record) -> Self {
        match record {
            Record::Task(task) => Self::Task(task),
            Record::Context(context) => Self::Context(context),
            Record::Budget(budget) => Self::Budget(budget),
            Record::Reservation(reservation) => Self::Reservation(reservation),
        }
    }
}

// === impl Lines ===

impl Lines {
    /// The lines of this part of a store.
    pub fn new(store: Arc<dyn Store>, query: ExportQuery) -> Self {
        Self { store, query, stage: Stage::Header, page: VecDeque::new(), totals: Totals::default() }
    }

    /// What has been given so far.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The next line, its end included; none after the last.
    ///
    /// # Errors
    /// [`ExportError`], after which nothing more comes and the last line is missing.
    pub async fn next(&mut self) -> Result<Option<String>, ExportError> {
        let line = loop {
            if let Some(record) = self.page.pop_front() {
                self.totals.count(&record);
                break Line::from(record);
            }
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Done => return Ok(None),
                Stage::Header => {
                    self.stage = Stage::Records(ExportPlace::START);
                    break Line::CallboardExport(self.header());
                }
                Stage::Records(from) => {
                    let page = self.store.export(self.query.clone(), from).await?;
                    self.stage = page.next.map_or(Stage::End, Stage::Records);
                    self.page = page.records.into();
                }
                Stage::End => break Line::End(self.totals),
            }
        };
        let mut text = serde_json::to_string(&line)?;
        if text.contains(['\n', '\r']) {
            // Stored JSON may hold line ends between its tokens, and never inside strings.
            text = text.replace(['\n', '\r'], " ");
        }
        text.push('\n');
        Ok(Some(text))
    }

    fn header(&self) -> Header {
        Header {
            format: FORMAT,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store: self.store.describe(),
            exported_at: self.store.now(),
            tenant: self.query.tenant.clone(),
        }
    }
}

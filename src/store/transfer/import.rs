//! JSON lines into a store. Each record is checked before it is written, and is written whole or not at all; the same
//! lines again find themselves there, so a broken import is repeated as it was.

use super::export::FORMAT;
use super::{Header, Imported, Line, Record, Totals};
use crate::store::{Store, StoreError};
use crate::task::SCHEMA;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How many records are handed to the store at once.
const BATCH_RECORDS: usize = 128;
/// The size, in bytes of text, past which a batch takes no further record.
const BATCH_BYTES: usize = 1024 * 1024;
/// How many refusals are told one by one; the others are only counted.
const TOLD: usize = 100;

/// Why an import stopped. What came before is imported, and finds itself there the next time.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It does not begin as an export does.
    #[error("line {0} is no header of a callboard export: give a file that `callboard export` wrote")]
    NoHeader(u64),
    /// It was written by a newer program.
    #[error(
        "it is an export of form {format} with schema {schema}, and this program reads {FORMAT} and {SCHEMA}: use a newer callboard"
    )]
    Newer {
        /// Its form.
        format: u16,
        /// Its schema.
        schema: u16,
    },
    /// A line cannot be read.
    #[error("line {line} is no record ({why}): the file was cut off or changed; what came before it is imported")]
    Form {
        /// Which, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The store cannot be written.
    #[error("{0}; what came before is imported, and the same file can be imported again")]
    Store(#[from] StoreError),
}

/// A record that was not imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Its line, from 1.
    pub line: u64,
    /// What it is.
    pub what: String,
    /// Why.
    pub why: String,
}

/// What became of the lines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImportReport {
    /// Records written, or that would be.
    pub written: u64,
    /// Records that the store had.
    pub already_there: u64,
    /// Records that were refused.
    pub refused: u64,
    /// The first of them.
    pub refusals: Vec<Refused>,
    /// Whether the last line came, and counted as many as there were.
    pub complete: bool,
}

impl ImportReport {
    /// Both together; complete when the later one is.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        self.written += later.written;
        self.already_there += later.already_there;
        self.refused += later.refused;
        self.refusals.extend(later.refusals);
        self.refusals.truncate(TOLD);
        self.complete = later.complete;
        self
    }

    fn refuse(&mut self, line: u64, what: String, why: String) {
        self.refused += 1;
        if self.refusals.len() < TOLD {
            self.refusals.push(Refused { line, what, why });
        }
    }
}

/// Takes lines one by one.
pub struct Importer {
    store: Arc<dyn Store>,
    dry_run: bool,
    line: u64,
    header: Option<Header>,
    totals: Totals,
    waiting: Vec<(u64, Record)>,
    bytes: usize,
    report: ImportReport,
}

// === impl Importer ===

impl Importer {
    /// Into this store; a dry run only looks what would become of each record.
    pub fn new(store: Arc<dyn Store>, dry_run: bool) -> Self {
        Self {
            store,
            dry_run,
            line: 0,
            header: None,
            totals: Totals::default(),
            waiting: Vec::new(),
            bytes: 0,
            report: ImportReport::default(),
        }
    }

    /// Lets line numbers begin behind this one: the lines are a part of a larger file, with its header before them.
    #[must_use]
    pub fn from_line(self, line: u64) -> Self {
        Self { line, ..self }
    }

    /// Takes the next line, without its end. Empty ones are skipped.
    ///
    /// # Errors
    /// [`ImportError`], after which nothing more can be taken.
    pub async fn take(&mut self, text: &[u8]) -> Result<(), ImportError> {
        self.line += u64::from(self.header.is_some() || self.line == 0);
        let text = text.trim_ascii();
        if text.is_empty() {
            return Ok(());
        }
        let line: Line = match serde_json::from_slice(text) {
            Ok(line) => line,
            Err(_) if self.header.is_none() => return Err(ImportError::NoHeader(self.line)),
            Err(error) => return Err(self.no_record(&error.to_string()).await),
        };
        let record = match (line, &self.header) {
            (Line::CallboardExport(header), None) => return self.begin(header),
            (_, None) => return Err(ImportError::NoHeader(self.line)),
            (Line::CallboardExport(_), Some(_)) => return Err(self.no_record("it is a second header").await),
            (Line::End(totals), Some(_)) => {
                self.report.complete = totals == self.totals;
                return Ok(());
            }
            (Line::Task(task), _) => Record::Task(task),
            (Line::Context(context), _) => Record::Context(context),
            (Line::Budget(budget), _) => Record::Budget(budget),
            (Line::Reservation(reservation), _) => Record::Reservation(reservation),
        };
        self.totals.count(&record);
        self.report.complete = false;
        if let Record::Task(task) = &record
            && let Err(unsound) = task.check()
        {
            self.report.refuse(self.line, what(&record), unsound.to_string());
            return Ok(());
        }
        self.waiting.push((self.line, record));
        self.bytes += text.len();
        if self.waiting.len() >= BATCH_RECORDS || self.bytes >= BATCH_BYTES { self.write().await } else { Ok(()) }
    }

    /// Writes what waits, and says what became of all.
    ///
    /// # Errors
    /// [`ImportError::Store`], or [`ImportError::NoHeader`] when there was no line at all.
    pub async fn finish(mut self) -> Result<ImportReport, ImportError> {
        if self.header.is_none() {
            return Err(ImportError::NoHeader(1));
        }
        self.write().await?;
        Ok(self.report)
    }

    /// What became of what was taken so far.
    pub fn report(&self) -> &ImportReport {
        &self.report
    }

    fn begin(&mut self, header: Header) -> Result<(), ImportError> {
        if header.format > FORMAT || header.schema > SCHEMA {
            return Err(ImportError::Newer { format: header.format, schema: header.schema });
        }
        self.header = Some(header);
        Ok(())
    }

    /// The line cannot be read; what came before it is written first, as the error says.
    async fn no_record(&mut self, why: &str) -> ImportError {
        let why = why.to_owned();
        match self.write().await {
            Ok(()) => ImportError::Form { line: self.line, why },
            Err(error) => error,
        }
    }

    async fn write(&mut self) -> Result<(), ImportError> {
        self.bytes = 0;
        let waiting = std::mem::take(&mut self.waiting);
        let named: Vec<_> = waiting.iter().map(|(line, record)| (*line, what(record))).collect();
        let imported = waiting.into_iter().map(|(_, record)| self.store.import(record, self.dry_run));
        for ((line, what), imported) in named.into_iter().zip(join_all(imported).await) {
            match imported? {
                Imported::Written => self.report.written += 1,
                Imported::AlreadyThere => self.report.already_there += 1,
                Imported::Refused(differs) => self.report.refuse(line, what, differs.to_string()),
            }
        }
        Ok(())
    }
}

fn what(record: &Record) -> String {
    match record {
        Record::Task(task) => format!("task {}", task.state.key),
        Record::Context(context) => format!("shared context {}/{}", context.tenant, context.field),
        Record::Budget(budget) => format!("budget {}", budget.scope),
        Record::Reservation(reservation) => format!("reservation {}", reservation.call),
    }
}

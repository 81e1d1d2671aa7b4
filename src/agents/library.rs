//! The documents as they are searched: keeps the index in step with the corpus, reading only what changed, and accounts
//! for what was read and what was not. A search goes on with what was there until a change is whole.

use super::corpus::{Corpus, Listed, Stamp};
use super::index::{Change, DocumentNumber, Index, SearchError, Snapshot};
use super::passages::{Piece, cut};
use crate::text::formats::Unread;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Most bytes of text that are indexed, because the index lives in memory.
const MAX_TOTAL_BYTES: u64 = 256 << 20;
/// Most documents that an account names one by one.
const MAX_NAMED: usize = 20;

/// A searched corpus.
pub(super) struct Library {
    corpus: Corpus,
    /// What was read, held while it is being changed.
    shelf: Mutex<Option<Shelf>>,
    current: RwLock<Option<Snapshot>>,
    account: RwLock<CorpusAccount>,
}

struct Shelf {
    index: Index,
    known: BTreeMap<Arc<str>, Known>,
}

/// A document that has been looked at.
struct Known {
    stamp: Stamp,
    /// It was changed so shortly before it was read that its stamp does not vouch for it yet.
    is_unsettled: bool,
    /// A hash of the text, or why there is none.
    content: Result<u64, Unread>,
    outcome: Outcome,
}

#[derive(Clone, Copy)]
enum Outcome {
    Indexed { number: DocumentNumber, bytes: u64 },
    Skipped(Unread),
}

/// What was read of the documents, and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct CorpusAccount {
    /// Documents that are searched.
    pub documents: usize,
    /// Passages in them.
    pub passages: usize,
    /// Bytes of their text.
    pub text_bytes: u64,
    /// Documents that are not searched, by reason.
    pub skipped: BTreeMap<&'static str, usize>,
    /// Some of them by name, with the reason.
    pub skipped_files: Vec<(Arc<str>, &'static str)>,
    /// How often the index has been changed since the start.
    pub changes: u64,
    /// How long the last change took, in milliseconds.
    pub last_change_ms: u64,
}

/// A document that was read.
struct Read {
    pieces: Vec<Piece>,
    bytes: u64,
    content: u64,
}

impl Library {
    /// A library that has read nothing yet.
    pub(super) fn new(corpus: Corpus) -> Self {
        let (current, account) = (RwLock::default(), RwLock::default());
        Self { corpus, shelf: Mutex::default(), current, account }
    }

    /// What can be searched now; none before the first reading.
    pub(super) fn current(&self) -> Option<Snapshot> {
        self.current.read().clone()
    }

    /// What was read, and what was not.
    pub(super) fn account(&self) -> CorpusAccount {
        self.account.read().clone()
    }

    /// Whether a later look may find something else.
    pub(super) fn can_change(&self) -> bool {
        self.corpus.can_change()
    }

    /// Looks for changes, reads what changed, and makes all of it visible at once. Blocks; one look at a time.
    pub(super) fn refresh(&self) -> Result<Snapshot, SearchError> {
        let mut held = self.shelf.lock();
        let began = Instant::now();
        let listed = self.corpus.list()?;
        let mut shelf = match held.take() {
            Some(shelf) => shelf,
            None => Shelf { index: Index::new()?, known: BTreeMap::new() },
        };
        // An index that failed halfway is given up, and the next look makes a new one.
        let changed = shelf.follow(&self.corpus, listed)?;
        let snapshot = match self.current().filter(|_| !changed) {
            Some(known) => known,
            None => {
                let snapshot = shelf.index.snapshot();
                self.tell(&shelf, &snapshot, began);
                *self.current.write() = Some(snapshot.clone());
                snapshot
            }
        };
        *held = Some(shelf);
        Ok(snapshot)
    }

    fn tell(&self, shelf: &Shelf, snapshot: &Snapshot, began: Instant) {
        let mut told = self.account.write();
        let last_change_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut account = CorpusAccount {
            documents: snapshot.documents(),
            passages: snapshot.passages(),
            changes: told.changes + 1,
            last_change_ms,
            ..CorpusAccount::default()
        };
        for (name, known) in &shelf.known {
            match known.outcome {
                Outcome::Indexed { bytes, .. } => account.text_bytes += bytes,
                Outcome::Skipped(why) => {
                    *account.skipped.entry(why.name()).or_default() += 1;
                    if account.skipped_files.len() < MAX_NAMED {
                        account.skipped_files.push((name.clone(), why.name()));
                    }
                }
            }
        }
        let (documents, passages) = (account.documents, account.passages);
        tracing::info!(documents, passages, took_ms = last_change_ms, "the documents are indexed");
        if account.skipped != told.skipped && !account.skipped.is_empty() {
            let (skipped, some) = (&account.skipped, &account.skipped_files);
            tracing::warn!(?skipped, ?some, "some documents are not searched");
        }
        *told = account;
    }
}

impl Shelf {
    /// Reads what is new or changed, and takes out what is gone; says whether there was anything. What is as it was costs
    /// a look at its stamp.
    fn follow(&mut self, corpus: &Corpus, listed: Vec<Listed>) -> Result<bool, SearchError> {
        let Self { index, known } = self;
        let names: HashSet<Arc<str>> = listed.iter().map(|listed| listed.name.clone()).collect();
        let gone: Vec<_> = known.keys().filter(|name| !names.contains(*name)).cloned().collect();
        let gone: Vec<_> = gone.iter().filter_map(|name| known.remove(name)).collect();
        let mut total: u64 = known.values().map(|known| known.outcome.bytes()).sum();
        let mut index = Some(index);
        let mut change = None;
        let mut changed = !gone.is_empty();
        for number in gone.iter().filter_map(|known| known.outcome.number()) {
            begun(&mut change, &mut index)?.remove(number);
        }
        for (at, listed) in listed.into_iter().enumerate() {
            let before = known.get(&listed.name);
            if before.is_some_and(|before| before.is_current(&listed, at, total)) {
                continue;
            }
            let now = SystemTime::now();
            total -= before.map_or(0, |before| before.outcome.bytes());
            let document = match () {
                () if at >= Corpus::most() => Err(Unread::TooMany),
                () if total >= MAX_TOTAL_BYTES => Err(Unread::TooMuch),
                () => read(corpus, &listed),
            };
            let content = document.as_ref().map_err(|why| *why).map(|document| document.content);
            let is_unsettled = listed.stamp.is_unsettled(now);
            let outcome = match (before, document) {
                // Read again to be sure, and it was the same.
                (Some(before), _) if before.content == content => before.outcome,
                (before, document) => {
                    changed = true;
                    if let Some(number) = before.and_then(|before| before.outcome.number()) {
                        begun(&mut change, &mut index)?.remove(number);
                    }
                    match document {
                        Err(why) => Outcome::Skipped(why),
                        Ok(Read { pieces, bytes, .. }) => {
                            let number = begun(&mut change, &mut index)?.add(&listed.name, pieces)?;
                            Outcome::Indexed { number, bytes }
                        }
                    }
                }
            };
            total += outcome.bytes();
            known.insert(listed.name, Known { stamp: listed.stamp, is_unsettled, content, outcome });
        }
        change.map_or(Ok(()), Change::commit)?;
        Ok(changed)
    }
}

/// The change of this look, begun when it is first needed.
fn begun<'a, 'b>(
    change: &'b mut Option<Change<'a>>,
    index: &mut Option<&'a mut Index>,
) -> Result<&'b mut Change<'a>, SearchError> {
    if let (None, Some(index)) = (&change, index.take()) {
        *change = Some(index.change()?);
    }
    change.as_mut().ok_or_else(|| SearchError::Index("a change was begun twice".into()))
}

impl Known {
    /// Whether nothing about the document says that it should be read again.
    fn is_current(&self, listed: &Listed, at: usize, total: u64) -> bool {
        let has_room = match self.outcome {
            Outcome::Skipped(Unread::TooMany) => at >= Corpus::most(),
            Outcome::Skipped(Unread::TooMuch) => total >= MAX_TOTAL_BYTES,
            _ => at < Corpus::most(),
        };
        self.stamp == listed.stamp && !self.is_unsettled && has_room
    }
}

impl Outcome {
    fn bytes(self) -> u64 {
        if let Self::Indexed { bytes, .. } = self { bytes } else { 0 }
    }

    fn number(self) -> Option<DocumentNumber> {
        if let Self::Indexed { number, .. } = self { Some(number) } else { None }
    }
}

fn read(corpus: &Corpus, listed: &Listed) -> Result<Read, Unread> {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let document = corpus.read(listed)?;
    let mut hasher = DefaultHasher::new();
    document.text.hash(&mut hasher);
    let pieces = cut(&document);
    if pieces.is_empty() {
        return Err(Unread::NoText);
    }
    Ok(Read { pieces, bytes: document.text.len() as u64, content: hasher.finish() })
}

#[cfg(test)]
mod tests;

//! The inverted index of the passages, in memory: takes documents in and out, and hands out snapshots in which a whole
//! change is there or none of it. Everything here blocks; the library keeps it off the async threads.

use super::corpus::CorpusError;
use super::passages::Piece;
use crate::messages::Passage;
use crate::text::terms::analyzer;
use std::collections::HashMap;
use std::sync::Arc;
use tantivy::directory::RamDirectory;
use tantivy::merge_policy::NoMergePolicy;
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{DocAddress, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher, TantivyDocument, Term};

const TOKENIZER: &str = "callboard";
/// What a change may gather before it becomes a segment; freed when the change is done.
const WRITER_BYTES: usize = 32 << 20;
/// More segments than this are made one.
const MAX_SEGMENTS: usize = 8;
/// And so are they when one in so many documents in them is deleted, because a deleted one still counts in the statistics.
const MAX_DELETED: u64 = 5;
/// A passage's number in its document, in bits.
const PLACE_BITS: u32 = 24;

/// Why nothing can be searched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The documents cannot be read.
    #[error(transparent)]
    Corpus(#[from] CorpusError),
    /// The index failed.
    #[error("the documents cannot be searched ({0}): try again, and report it if it stays")]
    Index(Arc<str>),
    /// The process is on its way out.
    #[error("the search was stopped because the process is shutting down: try again after the restart")]
    Stopped,
}

impl From<tantivy::TantivyError> for SearchError {
    fn from(error: tantivy::TantivyError) -> Self {
        Self::Index(error.to_string().into())
    }
}

/// The number of a document in the index; a changed one gets a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct DocumentNumber(u64);

/// The fields of a passage.
#[derive(Clone, Copy)]
pub(super) struct Fields {
    /// Its words.
    pub(super) text: Field,
    /// Titles above it.
    pub(super) headings: Field,
    /// Its document's name and first title.
    pub(super) title: Field,
    /// Its document's number, to take it out by.
    number: Field,
    /// The number and the passage's place in it.
    place: Field,
}

/// The index.
pub(super) struct Index {
    index: tantivy::Index,
    reader: IndexReader,
    fields: Fields,
    documents: HashMap<DocumentNumber, Arc<[Passage]>>,
    next: u64,
}

impl Index {
    /// An empty one.
    pub(super) fn new() -> Result<Self, SearchError> {
        let (schema, fields) = schema();
        let tokenizers = TokenizerManager::default();
        tokenizers.register(TOKENIZER, analyzer());
        let mut index = tantivy::Index::create(RamDirectory::create(), schema, IndexSettings::default())?;
        index.set_tokenizers(tokenizers);
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self { index, reader, fields, documents: HashMap::new(), next: 0 })
    }

    /// Begins a change, which is seen by nobody before it is committed, and not at all when it is dropped.
    pub(super) fn change(&mut self) -> Result<Change<'_>, SearchError> {
        // One thread: documents keep their order, so equal scores have one order everywhere.
        let writer = self.index.writer_with_num_threads(1, WRITER_BYTES)?;
        writer.set_merge_policy(Box::new(NoMergePolicy));
        Ok(Change { documents: self.documents.clone(), next: self.next, index: self, writer })
    }

    /// What there is now.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { searcher: self.reader.searcher(), fields: self.fields, documents: Arc::new(self.documents.clone()) }
    }
}

/// A change that is being made.
pub(super) struct Change<'a> {
    index: &'a mut Index,
    writer: IndexWriter,
    documents: HashMap<DocumentNumber, Arc<[Passage]>>,
    next: u64,
}

impl Change<'_> {
    /// Takes a document out.
    pub(super) fn remove(&mut self, number: DocumentNumber) {
        self.writer.delete_term(Term::from_field_u64(self.index.fields.number, number.0));
        self.documents.remove(&number);
    }

    /// Takes a document in.
    pub(super) fn add(&mut self, name: &Arc<str>, pieces: Vec<Piece>) -> Result<DocumentNumber, SearchError> {
        let number = DocumentNumber(self.next);
        self.next += 1;
        let fields = self.index.fields;
        let first_title = pieces.first().and_then(|piece| piece.headings.lines().next()).unwrap_or_default().to_owned();
        let mut passages = Vec::with_capacity(pieces.len());
        for (at, piece) in (0_u64..1 << PLACE_BITS).zip(pieces) {
            let mut document = TantivyDocument::new();
            document.add_text(fields.text, &piece.text);
            document.add_text(fields.headings, &piece.headings);
            document.add_text(fields.title, format!("{name}\n{first_title}"));
            document.add_u64(fields.number, number.0);
            document.add_u64(fields.place, number.0 << PLACE_BITS | at);
            self.writer.add_document(document)?;
            let heading = piece.heading_path().map(Into::into);
            passages.push(Passage { file: name.clone(), line: piece.line, heading, text: piece.text.into() });
        }
        self.documents.insert(number, passages.into());
        Ok(number)
    }

    /// Makes the change visible to snapshots taken from now on.
    pub(super) fn commit(mut self) -> Result<(), SearchError> {
        self.writer.commit()?;
        let segments = self.index.index.searchable_segment_metas()?;
        let (all, deleted) = segments.iter().fold((0, 0), |(all, deleted), segment| {
            (all + u64::from(segment.max_doc()), deleted + u64::from(segment.num_deleted_docs()))
        });
        if segments.len() > MAX_SEGMENTS || deleted * MAX_DELETED > all {
            let ids: Vec<_> = segments.iter().map(|segment| segment.id()).collect();
            self.writer.merge(&ids).wait()?;
        }
        self.writer.wait_merging_threads()?;
        self.index.reader.reload()?;
        self.index.documents = self.documents;
        self.index.next = self.next;
        Ok(())
    }
}

/// The index as it was at one moment.
#[derive(Clone)]
pub(super) struct Snapshot {
    /// What finds.
    pub(super) searcher: Searcher,
    /// Its fields.
    pub(super) fields: Fields,
    documents: Arc<HashMap<DocumentNumber, Arc<[Passage]>>>,
}

impl Snapshot {
    /// How many documents there are.
    pub(super) fn documents(&self) -> usize {
        self.documents.len()
    }

    /// How many passages they have.
    pub(super) fn passages(&self) -> usize {
        self.documents.values().map(|passages| passages.len()).sum()
    }

    /// The passage at an address.
    pub(super) fn passage(&self, address: DocAddress) -> Result<Option<&Passage>, SearchError> {
        let segment = self.searcher.segment_reader(address.segment_ord);
        let place = segment.fast_fields().u64(PLACE)?.first(address.doc_id);
        Ok(place.and_then(|place| {
            let document = self.documents.get(&DocumentNumber(place >> PLACE_BITS))?;
            document.get(usize::try_from(place & ((1 << PLACE_BITS) - 1)).ok()?)
        }))
    }
}

const PLACE: &str = "place";

fn schema() -> (Schema, Fields) {
    let indexing = TextFieldIndexing::default().set_tokenizer(TOKENIZER).set_index_option(IndexRecordOption::WithFreqs);
    let words = TextOptions::default().set_indexing_options(indexing);
    let mut builder = Schema::builder();
    let fields = Fields {
        text: builder.add_text_field("text", words.clone()),
        headings: builder.add_text_field("headings", words.clone()),
        title: builder.add_text_field("title", words),
        number: builder.add_u64_field("number", INDEXED),
        place: builder.add_u64_field(PLACE, FAST),
    };
    (builder.build(), fields)
}

//! The agent that searches documents: question in, the best passages out, with file, line and heading. It calls no model.
//! It reads its documents when it is told to prepare or the first question comes, and follows their changes from then on.

use super::corpus::Corpus;
use super::index::{SearchError, Snapshot};
use super::library::{CorpusAccount, Library};
use super::output::{MAX_PASSAGES, Output, bounded};
use super::reading::Reading;
use super::search::{Extra, Search};
use super::{Agent, AgentError, Think};
use crate::messages::{Passage, Phase, Work};
use crate::task::{ErrorCode, Failure, Json};
use crate::text::markup;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How an analysis names the words to search for, on a line of its own.
const SEARCH_TERMS: &str = "search terms:";

/// Questions within this time after a look at the folder share it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a question waits for what changed since the last look, before it goes on with what was there. A look at
/// thousands of files and the reading of some take less.
const LOOK_PATIENCE: Duration = Duration::from_millis(300);

/// The agent.
pub struct Retriever {
    library: Arc<Library>,
    look: Mutex<Look>,
}

/// The looks at the documents.
#[derive(Default)]
struct Look {
    /// One that may still be going on, which all callers share and none of them can stop.
    running: Option<Looking>,
    began: Option<Instant>,
    /// Why the last one failed, so that it is said once.
    failure: Option<SearchError>,
}

type Looking = Shared<BoxFuture<'static, Result<Snapshot, SearchError>>>;

/// How much there is to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorpusSize {
    /// Documents read.
    pub documents: usize,
    /// Passages in them.
    pub passages: usize,
}

impl Retriever {
    /// A retriever over these documents, which it has not read yet.
    pub fn new(corpus: Corpus) -> Self {
        Self { library: Arc::new(Library::new(corpus)), look: Mutex::default() }
    }

    /// What was read of the documents, and what was not and why; empty before they have been read.
    pub fn account(&self) -> CorpusAccount {
        self.library.account()
    }

    /// Reads and indexes the documents now, so that the first question need not wait for it.
    ///
    /// # Errors
    /// [`SearchError`]; the next call tries again.
    pub async fn prepare(&self) -> Result<CorpusSize, SearchError> {
        let index = self.snapshot().await?;
        Ok(CorpusSize { documents: index.documents(), passages: index.passages() })
    }

    /// The passages that bear on a question, best first and whole; a step's output has room for the best of them only.
    ///
    /// # Errors
    /// [`SearchError`]; the next call tries again.
    pub async fn search(&self, question: &str, most: usize) -> Result<Vec<Passage>, SearchError> {
        let index = self.snapshot().await?;
        let search = Search { question: question.into(), extra: Extra::Loose(String::new()), most };
        let found = tokio::task::spawn_blocking(move || index.search(&search));
        found.await.unwrap_or_else(|error| Err(stopped(error)))
    }

    /// What is searched now: as the documents are, if that can be had soon, and else as they were.
    async fn snapshot(&self) -> Result<Snapshot, SearchError> {
        let Some(known) = self.library.current() else {
            // The first reading, which there is no way around.
            let looking = self.looking(true);
            return match looking {
                Some(looking) => looking.await,
                None => self.library.current().ok_or(SearchError::Stopped),
            };
        };
        let Some(looking) = self.looking(false).filter(|_| self.library.can_change()) else { return Ok(known) };
        match tokio::time::timeout(LOOK_PATIENCE, looking).await {
            Ok(Ok(snapshot)) => Ok(snapshot),
            Ok(Err(error)) => {
                self.tell(error);
                Ok(known)
            }
            Err(_) => Ok(known),
        }
    }

    /// The look that is going on; begins one when the last is some time ago or, for the first reading, has ended without.
    fn looking(&self, is_first: bool) -> Option<Looking> {
        let mut look = self.look.lock();
        if let Some(running) = &look.running {
            let Some(ended) = running.clone().now_or_never() else { return Some(running.clone()) };
            let failed = ended.is_err();
            look.running = None;
            if is_first && !failed {
                return None;
            }
        }
        let is_due = look.began.is_none_or(|began| began.elapsed() >= LOOK_EVERY);
        if !is_first && (!is_due || !self.library.can_change()) {
            return None;
        }
        let library = self.library.clone();
        let work = tokio::task::spawn_blocking(move || library.refresh());
        let looking = async move { work.await.unwrap_or_else(|error| Err(stopped(error))) }.boxed().shared();
        (look.running, look.began) = (Some(looking.clone()), Some(Instant::now()));
        Some(looking)
    }

    fn tell(&self, error: SearchError) {
        let mut look = self.look.lock();
        if look.failure.as_ref() != Some(&error) {
            tracing::warn!(%error, "the documents cannot be looked at; they are searched as they were");
            look.failure = Some(error);
        }
    }

    async fn retrieve(&self, work: &Work, think: &dyn Think) -> Result<Json, AgentError> {
        think.progress(Phase::Tool);
        let failed = |error: SearchError| {
            AgentError::Retryable(Failure::new(ErrorCode::InternalError, format!("{}: {error}", work.capability)))
        };
        let index = self.snapshot().await.map_err(failed)?;
        let search = Search { question: work.objective.clone(), extra: extra(work), most: 2 * MAX_PASSAGES };
        let searched = index.clone();
        let found = tokio::task::spawn_blocking(move || searched.search(&search));
        let found = found.await.unwrap_or_else(|error| Err(stopped(error))).map_err(failed)?;
        think.progress(Phase::Thinking);
        let passages = bounded(found);
        let text = summary(&passages, index.documents());
        Output::new(work, "retriever", "documents", "bm25", &text).passages(passages).json()
    }
}

impl Agent for Retriever {
    fn perform<'a>(&'a self, work: &'a Work, think: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        self.retrieve(work, think).boxed()
    }
}

fn stopped(error: tokio::task::JoinError) -> SearchError {
    if error.is_panic() { SearchError::Index("the search crashed".into()) } else { SearchError::Stopped }
}

/// What the earlier steps add to the question: the search terms that they name, or else their words.
fn extra(work: &Work) -> Extra {
    let mut words = String::new();
    for reading in Reading::all(&work.earlier) {
        let text = &*reading.text;
        if let Some(terms) = text.lines().find_map(search_terms) {
            return Extra::SearchTerms(terms);
        }
        words.push_str(text);
        words.push('\n');
    }
    Extra::Loose(words)
}

fn search_terms(line: &str) -> Option<String> {
    let line = markup::plain(markup::list_item(line).unwrap_or(line));
    let head = line.get(..SEARCH_TERMS.len())?;
    head.eq_ignore_ascii_case(SEARCH_TERMS).then(|| line[SEARCH_TERMS.len()..].trim().to_owned())
}

fn summary(passages: &[Passage], documents: usize) -> String {
    let searched = format!("{documents} document{}", if documents == 1 { "" } else { "s" });
    if passages.is_empty() {
        return format!("Searched {searched}: no passage matches the question.");
    }
    let files: BTreeSet<&str> = passages.iter().map(|passage| passage.file.as_ref()).collect();
    let plural = if passages.len() == 1 { "" } else { "s" };
    let files = files.into_iter().collect::<Vec<_>>().join(", ");
    format!("Searched {searched}: {} passage{plural} from {files}.", passages.len())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Recorder, earlier, output_of, work};
    use super::*;
    use std::fs;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("ops")).unwrap();
        let store = "# Store\n\nThe store is the only memory.\n\n## Durability\n\n- memory keeps nothing\n- sqlite keeps \
                     accepted tasks\n";
        fs::write(folder.path().join("store.md"), store).unwrap();
        fs::write(folder.path().join("ops/run.txt"), "Start it.\n\nStop it: SIGTERM drains the process.\n").unwrap();
        folder
    }

    #[tokio::test]
    async fn finds_passages_in_a_folder_with_their_lines() {
        let folder = folder();
        let retriever = Retriever::new(Corpus::open(folder.path()).unwrap());
        let think = Recorder::default();
        let output = retriever.perform(&work("retrieve", "Which store keeps accepted tasks?", vec![]), &think).await;
        let output = output_of(&output.unwrap());
        assert_eq!(output["passages"][0]["file"], "store.md");
        assert_eq!(output["passages"][0]["line"], 5);
        assert_eq!(output["text"], "Searched 2 documents: 1 passage from store.md.");
        assert_eq!(think.phases(), [Phase::Tool, Phase::Thinking]);
        let output = retriever.perform(&work("retrieve", "What does SIGTERM do?", vec![]), &think).await.unwrap();
        let output = output_of(&output);
        assert_eq!(
            (&output["passages"][0]["file"], &output["passages"][0]["line"]),
            (&"ops/run.txt".into(), &1.into())
        );
        assert_eq!(retriever.prepare().await, Ok(CorpusSize { documents: 2, passages: 3 }));
    }

    #[tokio::test]
    async fn no_hit_is_an_answer() {
        let retriever = Retriever::new(Corpus::embedded(&[("a.md", "Nothing here.")]));
        let output = retriever.perform(&work("retrieve", "zebras", vec![]), &Recorder::default()).await.unwrap();
        let output = output_of(&output);
        assert_eq!(output["text"], "Searched 1 document: no passage matches the question.");
        assert_eq!(output["passages"], serde_json::json!([]));
    }

    #[tokio::test]
    async fn the_analysis_may_name_search_terms() {
        let retriever = Retriever::new(Corpus::embedded(&[("a.md", "Leases run for five seconds.")]));
        let analysis = earlier("analyze", serde_json::json!({"text": "Goal: x\n- **Search terms:** lease, seconds"}));
        let work = work("retrieve", "Wie lange?", vec![analysis]);
        let output = retriever.perform(&work, &Recorder::default()).await.unwrap();
        assert_eq!(output_of(&output)["passages"][0]["line"], 1);
        assert_eq!(extra(&work), Extra::SearchTerms("lease, seconds".into()));
    }

    #[tokio::test]
    async fn a_folder_that_comes_back_is_read_after_all() {
        let folder = folder();
        let moved = folder.path().with_extension("away");
        let retriever = Retriever::new(Corpus::open(folder.path()).unwrap());
        fs::rename(folder.path(), &moved).unwrap();
        let work = work("retrieve", "store", vec![]);
        let error = retriever.perform(&work, &Recorder::default()).await.unwrap_err();
        assert!(matches!(&error, AgentError::Retryable(failure) if failure.message.contains("does not exist")));
        fs::rename(&moved, folder.path()).unwrap();
        assert!(retriever.perform(&work, &Recorder::default()).await.is_ok());
    }

    #[tokio::test]
    async fn concurrent_callers_share_one_reading_and_a_dropped_one_stops_nobody() {
        let folder = folder();
        let retriever = Arc::new(Retriever::new(Corpus::open(folder.path()).unwrap()));
        // Polled once, so the reading has begun, and dropped.
        assert!(retriever.prepare().now_or_never().is_none());
        let reading = retriever.look.lock().running.clone().unwrap();
        let all = futures_util::future::join_all((0..20).map(|_| retriever.snapshot())).await;
        assert!(all.iter().all(|snapshot| snapshot.as_ref().unwrap().documents() == 2));
        assert!(reading.now_or_never().is_some(), "the work that was begun is the work that was used");
        assert_eq!(retriever.account().changes, 1);
    }
}

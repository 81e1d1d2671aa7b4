//! Who works here, and which stages a task passes: a team, from a TOML file or the default one inside the program. It makes
//! values only; the node starts them.
//!
//! | file | what it holds |
//! |---|---|
//! | `default.toml` | the default team, a file like any other |
//! | `table` | reading TOML with the line of everything |
//! | `file` | what a team's file says |
//! | `crew` | which of its agents work in a process, and under which names |
//! | `limits` | time-outs and retries, by stage, agent and team |
//! | `beside` | the files that a team's file names |
//! | `assemble` | whether it fits together; the agents |
//! | `problem` | what is wrong with it, with line and remedy |

mod assemble;
mod beside;
mod crew;
mod file;
mod limits;
mod problem;
mod table;

pub use crew::Berth;
pub use problem::{Place, Problem, TeamFileError};

use crate::agents::{Agent, CorpusError, PROMPT_FILES, Retriever};
use crate::settings::Settings;
use crate::task::{AgentId, Capability, InvalidId, Pipeline};
use assemble::Workshop;
use beside::{Beside, text_of};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use table::Notes;

/// Steps at once of an agent that says nothing else, as in the settings.
const SLOTS: u32 = 4;

/// The default team's file.
const DEFAULT: &str = include_str!("default.toml");

/// The files that `callboard team init` writes: path and text, the team's own first.
pub fn default_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    [("team.toml", DEFAULT)].into_iter().chain(PROMPT_FILES)
}

/// One agent of a team.
#[derive(Clone)]
pub struct TeamMember {
    /// Its name.
    pub id: AgentId,
    /// What it is made of: `prompt`, `retriever`, or a name of the program's own.
    pub kind: Arc<str>,
    /// What it can do.
    pub capabilities: Vec<Capability>,
    /// How many steps at once.
    pub slots: u32,
    /// What kind of specialist it is, as its outputs say.
    pub profile: Arc<str>,
    /// What it is, for people.
    pub description: Arc<str>,
    /// Who answers its model calls; the settings' provider when none.
    pub provider: Option<Arc<str>>,
    /// What it does.
    pub agent: Arc<dyn Agent>,
}

impl TeamMember {
    /// An agent of the caller's own: its name, what it can do, and what does it. It gets four slots, and its name for
    /// a profile; the fields say more where that is not right.
    ///
    /// # Errors
    /// [`InvalidId`] when the name or the capability is too short or too long.
    pub fn new(id: &str, capability: &str, agent: impl Agent) -> Result<Self, InvalidId> {
        Ok(Self {
            id: AgentId::parse(id)?,
            kind: "own".into(),
            capabilities: vec![Capability::parse(capability)?],
            slots: SLOTS,
            profile: id.trim().into(),
            description: capability.trim().into(),
            provider: None,
            agent: Arc::new(agent),
        })
    }
}

/// Agents of the program's own, by the name that a team's file gives as their `kind`.
///
/// ```
/// # use callboard::agents::{Agent, AgentError, BoxFuture, Output, Think};
/// # use callboard::{messages::Work, settings::Settings, task::Json};
/// use callboard::team::{Kinds, Team};
///
/// # struct Bookkeeper;
/// # impl Agent for Bookkeeper {
/// #     fn perform<'a>(&'a self, work: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
/// #         Box::pin(async move { Output::of(work, "bookkeeper").text("EUR 0.00").json() })
/// #     }
/// # }
/// # let settings = Settings::with(&[]).unwrap();
/// let kinds = Kinds::default().with("bookkeeper", Bookkeeper);
/// let file = r#"
///     [[stages]]
///     capability = "add up"
///
///     [[agents]]
///     id = "agent-books"
///     kind = "bookkeeper"
///     capabilities = ["add up"]
/// "#;
/// let team = Team::from_text(file, "team.toml", &settings, &kinds).unwrap();
/// assert_eq!(&*team.members[0].kind, "bookkeeper");
/// ```
#[derive(Clone, Default)]
pub struct Kinds(BTreeMap<String, Arc<dyn Agent>>);

impl Kinds {
    /// These and one more.
    #[must_use]
    pub fn with(mut self, name: &str, agent: impl Agent) -> Self {
        self.0.insert(name.to_owned(), Arc::new(agent));
        self
    }

    fn find(&self, name: &str) -> Option<Arc<dyn Agent>> {
        self.0.get(name).cloned()
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The documents that have been read, by folder; none for the program's own.
#[derive(Clone, Default)]
struct Libraries(BTreeMap<Option<PathBuf>, Arc<Retriever>>);

/// Where a team comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TeamSource {
    /// It is the default one.
    Program,
    /// This file.
    File(PathBuf),
}

impl fmt::Display for TeamSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("the default team"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Why a team cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum TeamError {
    /// The documents that the settings name cannot be searched.
    #[error("docs: {0}")]
    Corpus(#[from] CorpusError),
    /// Its file is wrong.
    #[error(transparent)]
    File(#[from] TeamFileError),
}

/// A team: who works, and what a task passes.
#[derive(Clone)]
pub struct Team {
    /// Its name, for people.
    pub name: Arc<str>,
    /// What it is for.
    pub description: Option<Arc<str>>,
    /// Where it comes from.
    pub source: TeamSource,
    /// The stages of each task, with what a step may cost.
    pub pipeline: Pipeline,
    /// The agents.
    pub members: Vec<TeamMember>,
    /// What is no fault and probably a slip.
    pub warnings: Vec<Problem>,
    libraries: Libraries,
}

impl Team {
    /// The team that the settings name, or the default one. Reads files.
    ///
    /// # Errors
    /// [`TeamError`] with everything that is wrong.
    pub fn of(settings: &Settings) -> Result<Self, TeamError> {
        Self::with_kinds(settings, &Kinds::default())
    }

    /// The same with agents of the program's own, which the file may name as a `kind`.
    ///
    /// # Errors
    /// [`TeamError`].
    pub fn with_kinds(settings: &Settings, own: &Kinds) -> Result<Self, TeamError> {
        read(&Workshop { settings, own, earlier: None })
    }

    /// The same anew, from the files as they are now. Documents that this team has read are not read again.
    ///
    /// # Errors
    /// [`TeamError`]; this team is as it was.
    pub fn again(&self, settings: &Settings, own: &Kinds) -> Result<Self, TeamError> {
        read(&Workshop { settings, own, earlier: Some(&self.libraries) })
    }

    /// A team from the text of a file; `name` is what problems call it, and paths in it count from that file's folder.
    ///
    /// # Errors
    /// [`TeamError`].
    pub fn from_text(text: &str, name: &str, settings: &Settings, own: &Kinds) -> Result<Self, TeamError> {
        let source = TeamSource::File(name.into());
        parse(text, name, source, &Beside::of(Path::new(name)), &Workshop { settings, own, earlier: None })
    }

    /// The capabilities without which a task cannot succeed.
    pub fn needed(&self) -> Vec<Capability> {
        let mandatory = self.pipeline.0.iter().filter(|stage| !stage.optional);
        mandatory.map(|stage| stage.capability.clone()).collect()
    }
}

fn read(workshop: &Workshop<'_>) -> Result<Team, TeamError> {
    let Some(path) = &workshop.settings.team else {
        return parse(DEFAULT, "the default team", TeamSource::Program, &Beside::Program, workshop);
    };
    let name = path.display().to_string();
    let text = text_of(path).map_err(|fault| {
        let place = Place { file: name.as_str().into(), line: 1 };
        TeamFileError { problems: vec![Problem { place, fault: format!("{fault}; `callboard team init` writes one") }] }
    })?;
    parse(&text, &name, TeamSource::File(path.clone()), &Beside::of(path), workshop)
}

fn parse(
    text: &str,
    name: &str,
    source: TeamSource,
    beside: &Beside,
    workshop: &Workshop<'_>,
) -> Result<Team, TeamError> {
    let mut notes = Notes::new(name.into(), text);
    let file = file::read(text, beside, &workshop.own.names(), &mut notes);
    workshop.assemble(file, source, notes)
}

#[cfg(test)]
mod tests;

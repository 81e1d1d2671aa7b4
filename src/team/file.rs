//! A team's file as text becomes what it says: stages, agents, limits, each checked by itself. Whether they fit together
//! is `assemble`'s business.

use super::beside::Beside;
use super::limits::Choices;
use super::problem::Place;
use super::table::{Notes, Placed, Table};
use crate::llm::ProviderKind;
use crate::settings::nearest;
use crate::task::{AgentId, Capability};
use std::path::PathBuf;
use toml::de::DeTable;

/// What a team's file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TeamFile {
    pub name: Option<String>,
    pub description: Option<String>,
    pub limits: Choices,
    pub stages: Vec<StageSpec>,
    pub agents: Vec<AgentSpec>,
}

/// `[[stages]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StageSpec {
    pub line: usize,
    pub capability: Capability,
    pub optional: bool,
    /// Whoever does it joins from another process.
    pub elsewhere: bool,
    pub limits: Choices,
}

/// `[[agents]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AgentSpec {
    pub line: usize,
    pub id: AgentId,
    pub kind: Kind,
    pub capabilities: Vec<Capability>,
    pub profile: Option<String>,
    pub description: Option<String>,
    pub slots: Option<u32>,
    pub provider: Option<ProviderKind>,
    pub system: Option<Prompt>,
    pub user: Option<Prompt>,
    /// The folder of a retriever, and the line that says so.
    pub docs: Option<Placed<PathBuf>>,
    pub limits: Choices,
}

/// What an agent is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Templates and a model.
    Prompt,
    /// A search over documents.
    Retriever,
    /// The program's own code, under this name.
    Own(String),
}

/// A template, and where its first line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    pub text: String,
    pub place: Place,
}

impl Kind {
    pub const OURS: [&str; 2] = ["prompt", "retriever"];

    fn parse(text: &str, own: &[&str]) -> Result<Self, String> {
        match text {
            "prompt" => Ok(Self::Prompt),
            "retriever" => Ok(Self::Retriever),
            name if own.contains(&name) => Ok(Self::Own(name.to_owned())),
            other => {
                let known = || Self::OURS.into_iter().chain(own.iter().copied());
                let remedy = nearest(other, known()).map_or_else(
                    || format!("use {}", known().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                Err(format!("there is no kind {other:?}: {remedy}"))
            }
        }
    }

    /// Its name in a file.
    pub fn name(&self) -> &str {
        match self {
            Self::Prompt => "prompt",
            Self::Retriever => "retriever",
            Self::Own(name) => name,
        }
    }
}

/// Reads the text of a file. What is wrong is noted; what comes back is then not whole.
pub(super) fn read(text: &str, beside: &Beside, own: &[&str], notes: &mut Notes<'_>) -> TeamFile {
    let (root, faults) = DeTable::parse_recoverable(text);
    for fault in &faults {
        let line = fault.span().map_or(1, |span| notes.line(span));
        notes.wrong(line, format!("this is not TOML: {}", fault.message()));
    }
    let mut table = Table::new(root.get_ref(), "", 1);
    let name = table.text("name", notes).map(|name| name.value);
    let description = table.text("description", notes).map(|text| text.value);
    let limits = table.table("limits", notes).map_or_else(Choices::default, |mut table| {
        let limits = Choices::read(&mut table, notes);
        table.end(notes);
        limits
    });
    let stages = table.tables("stages", notes).into_iter().filter_map(|table| stage(table, notes)).collect();
    let agents = table.tables("agents", notes);
    let agents = agents.into_iter().filter_map(|table| agent(table, beside, own, notes)).collect();
    // What could not be parsed may have been any key.
    if faults.is_empty() {
        table.end(notes);
    }
    TeamFile { name, description, limits, stages, agents }
}

fn stage(mut table: Table<'_>, notes: &mut Notes<'_>) -> Option<StageSpec> {
    let line = table.line;
    let known = notes.problems.len();
    let named = table.parsed("capability", notes, capability);
    if let Some(capability) = &named {
        table.call(format!("stage {}", capability.value));
    } else if notes.problems.len() == known {
        table.wrong(notes, line, "it needs a capability, such as capability = \"analyze\"");
    }
    let optional = table.flag("optional", notes);
    let elsewhere = table.flag("elsewhere", notes);
    let limits = Choices::read(&mut table, notes);
    table.end(notes);
    Some(StageSpec { line, capability: named?.value, optional, elsewhere, limits })
}

fn agent(mut table: Table<'_>, beside: &Beside, own: &[&str], notes: &mut Notes<'_>) -> Option<AgentSpec> {
    let line = table.line;
    let known = notes.problems.len();
    let id = table.parsed("id", notes, |text| AgentId::parse(text).map_err(|error| error.to_string()));
    if let Some(id) = &id {
        table.call(format!("agent {}", id.value));
    } else if notes.problems.len() == known {
        table.wrong(notes, line, "it needs an id, such as id = \"agent-analyze\"");
    }
    let kind = table.parsed("kind", notes, |text| Kind::parse(text, own)).map_or(Kind::Prompt, |kind| kind.value);
    let capabilities = table.list("capabilities", notes, capability);
    if capabilities.as_ref().is_none_or(Vec::is_empty) {
        table.wrong(notes, line, "it can do nothing: write for example capabilities = [\"analyze\"]");
    }
    let profile = table.text("profile", notes).map(|text| text.value);
    let description = table.text("description", notes).map(|text| text.value);
    let slots = table.number("slots", 1, notes).map(|slots| slots.value);
    let provider = table.parsed("provider", notes, |text| text.parse().map_err(|error| format!("{error}")));
    let system = prompt(&mut table, ["system", "system_file"], beside, notes);
    let user = prompt(&mut table, ["user", "user_file"], beside, notes);
    let docs = table.parsed("docs", notes, |text| Ok(beside.path(text)));
    for (key, is_there, kinds) in
        [("a prompt", system.is_some() || user.is_some(), "prompt"), ("docs", docs.is_some(), "retriever")]
    {
        if is_there && kind.name() != kinds {
            let fault = format!("{key} is for agents of kind {kinds:?}, and this is {:?}: leave it out", kind.name());
            table.wrong(notes, line, &fault);
        }
    }
    let limits = Choices::read(&mut table, notes);
    table.end(notes);
    Some(AgentSpec {
        line,
        id: id?.value,
        kind,
        capabilities: capabilities?,
        profile,
        description,
        slots,
        provider: provider.map(|provider| provider.value),
        system,
        user,
        docs,
        limits,
    })
}

/// A prompt, written in the file or in one of its own.
fn prompt(
    table: &mut Table<'_>,
    [inside, apart]: [&'static str; 2],
    beside: &Beside,
    notes: &mut Notes<'_>,
) -> Option<Prompt> {
    let written = table.text(inside, notes);
    let file = table.parsed(apart, notes, |path| {
        let text = beside.text(path)?;
        let place = Place { file: beside.path(path).display().to_string().into(), line: 1 };
        Ok(Prompt { text, place })
    });
    if let (Some(_), Some(file)) = (&written, &file) {
        table.wrong(notes, file.line, &format!("{inside} and {apart} say the same thing twice: keep one of them"));
    }
    let here = |written: Placed<String>| Prompt {
        text: written.value,
        place: Place { file: notes.file.clone(), line: written.line },
    };
    written.map(here).or(file.map(|file| file.value))
}

fn capability(text: &str) -> Result<Capability, String> {
    Capability::parse(text).map_err(|error| error.to_string())
}

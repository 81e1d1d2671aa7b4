//! The agent that thinks with a model: templates turn work into a prompt, the answer becomes the step's output. It knows
//! nothing of which model answers, and keeps nothing between steps.

mod inputs;
mod template;

pub use template::TemplateError;

use super::citations::{gather, resolve};
use super::output::Output;
use super::reading::Reading;
use super::{Agent, AgentError, Think, Thought};
use crate::messages::{Generated, Passage, Phase, Work};
use crate::task::{Capability, ErrorCode, Failure, Json};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use inputs::Inputs;
use minijinja::{Environment, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use template::{Prompt, compile, environment};

const QUESTION: &str = include_str!("prompts/question.user.j2");
const EVIDENCE: &str = include_str!("prompts/evidence.user.j2");
const ANALYZE: &str = include_str!("prompts/analyze.system.j2");
const EVALUATE: &str = include_str!("prompts/evaluate.system.j2");
const FINALIZE: &str = include_str!("prompts/finalize.system.j2");

/// The templates that come with the program, each under the path that the default team's file gives it.
pub const PROMPT_FILES: [(&str, &str); 5] = [
    ("prompts/analyze.system.j2", ANALYZE),
    ("prompts/evaluate.system.j2", EVALUATE),
    ("prompts/finalize.system.j2", FINALIZE),
    ("prompts/question.user.j2", QUESTION),
    ("prompts/evidence.user.j2", EVIDENCE),
];
/// Which of them are whose, where an agent has none of its own: capability, system, user.
const DEFAULTS: [(&str, &str, &str); 3] =
    [("analyze", ANALYZE, QUESTION), ("evaluate", EVALUATE, EVIDENCE), ("finalize", FINALIZE, EVIDENCE)];
/// The templates for every other capability. No capability has this name: they are trimmed.
const ANY: &str = " any";
const ANY_SYSTEM: &str = include_str!("prompts/any.system.j2");

/// The agent. One value serves any number of capabilities.
///
/// Templates are minijinja and see `capability`, `objective`, `context` (the task's JSON), `context_text` (the same as
/// text, empty when there is none), `earlier` (a list of `{step, capability, text, output}`) and `passages` (a list of
/// `{number, file, line, heading, text}`; not all have a heading). A name that is not there is an error; write
/// `context.x is defined` to ask. The filter `quoted` puts `> ` before each line of a text.
pub struct PromptAgent {
    profile: Arc<str>,
    templates: Environment<'static>,
    prompts: HashMap<Capability, Prompts>,
    /// For every capability that has none of its own.
    any: Prompts,
}

/// One capability's prompts.
struct Prompts {
    system: Prompt,
    user: Prompt,
}

impl PromptAgent {
    /// An agent with the templates that come with the program; the profile is what its outputs call it.
    ///
    /// # Errors
    /// [`TemplateError`] when one of those is broken, which a test excludes.
    pub fn new(profile: impl Into<Arc<str>>) -> Result<Self, TemplateError> {
        let mut templates = environment();
        let any = prompts(&mut templates, ANY, ANY_SYSTEM.into(), EVIDENCE.into())?;
        let mut agent = Self { profile: profile.into(), templates, prompts: HashMap::new(), any };
        for (capability, system, user) in DEFAULTS {
            agent.add(&Capability::trusted(capability), system.into(), user.into())?;
        }
        Ok(agent)
    }

    /// Other templates for one capability; those that come with the program where one is not given.
    ///
    /// # Errors
    /// [`TemplateError`] when one of them cannot be used.
    pub fn with_prompts(
        mut self,
        capability: &Capability,
        system: Option<String>,
        user: Option<String>,
    ) -> Result<Self, TemplateError> {
        let default = DEFAULTS.iter().find(|(name, ..)| *name == capability.as_str());
        let (default_system, default_user) =
            default.map_or((ANY_SYSTEM, EVIDENCE), |(_, system, user)| (*system, *user));
        let (system, user) = (system.as_deref().unwrap_or(default_system), user.as_deref().unwrap_or(default_user));
        self.add(capability, system.into(), user.into())?;
        Ok(self)
    }

    fn add(&mut self, capability: &Capability, system: String, user: String) -> Result<(), TemplateError> {
        let prompts = prompts(&mut self.templates, capability.as_str(), system, user)?;
        self.prompts.insert(capability.clone(), prompts);
        Ok(())
    }

    async fn think_it_through(&self, work: &Work, think: &dyn Think) -> Result<Json, AgentError> {
        think.progress(Phase::Thinking);
        let readings = Reading::all(&work.earlier);
        let passages = gather(&readings);
        let thought = self.thought(work, &readings, passages.clone())?;
        think.progress(Phase::Model);
        let generated = think.think(thought).await.map_err(|error| AgentError::of_model(work, error))?;
        think.progress(Phase::Thinking);
        self.output(work, generated, &passages)
    }

    fn thought(&self, work: &Work, readings: &[Reading], passages: Vec<Passage>) -> Result<Thought, AgentError> {
        let prompts = self.prompts.get(&work.capability).unwrap_or(&self.any);
        let inputs = Value::from_object(Inputs::of(work, readings, &passages));
        let system_prompt = self.render(work, "system", &prompts.system, &inputs)?;
        let user_prompt = self.render(work, "user", &prompts.user, &inputs)?;
        Ok(Thought { system_prompt, user_prompt, question: work.objective.clone(), passages })
    }

    fn render(&self, work: &Work, role: &str, prompt: &Prompt, inputs: &Value) -> Result<Arc<str>, AgentError> {
        let name = match prompt {
            Prompt::Fixed(text) => return Ok(text.clone()),
            Prompt::Rendered(name) => name,
        };
        let rendered = self.templates.get_template(name).and_then(|template| template.render(inputs.clone()));
        rendered.map(Arc::from).map_err(|error| {
            let message = format!(
                "{}: the {role} prompt cannot be made ({error}); correct the template, it fails the same way every time",
                work.capability
            );
            AgentError::Fatal(Failure::new(ErrorCode::InternalError, message))
        })
    }

    fn output(&self, work: &Work, generated: Generated, passages: &[Passage]) -> Result<Json, AgentError> {
        if !generated.text.chars().any(char::is_alphanumeric) {
            let message = format!(
                "{}: {} answered without a single word ({} bytes); another try may do better",
                work.capability,
                generated.provider,
                generated.text.len()
            );
            return Err(AgentError::Retryable(Failure::new(ErrorCode::InternalError, message)));
        }
        let (text, citations) = if generated.citations.is_empty() {
            resolve(&generated.text, passages)
        } else {
            (Cow::from(&*generated.text), generated.citations)
        };
        Output::new(work, &self.profile, &generated.provider, &generated.model, text.trim())
            .usage(generated.usage)
            .citations(&citations)
            .json()
    }
}

impl Agent for PromptAgent {
    fn perform<'a>(&'a self, work: &'a Work, think: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        self.think_it_through(work, think).boxed()
    }
}

/// Compiles one capability's prompts.
fn prompts(
    templates: &mut Environment<'static>,
    capability: &str,
    system: String,
    user: String,
) -> Result<Prompts, TemplateError> {
    Ok(Prompts {
        system: compile(templates, capability, "system", system)?,
        user: compile(templates, capability, "user", user)?,
    })
}

#[cfg(test)]
mod tests;

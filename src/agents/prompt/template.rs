//! A prompt's template: compiled, and tried out once on a step of no importance, so that what would fail in every task
//! is told when it is written.

use super::inputs::{Inputs, NAMES, quoted};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};
use std::sync::Arc;

/// What begins a template's own markup; a text without it is the same after rendering.
const MARKUP: [&str; 3] = ["{{", "{%", "{#"];

/// How a prompt is made.
pub(super) enum Prompt {
    /// It is the same for every step.
    Fixed(Arc<str>),
    /// From the template of this name.
    Rendered(String),
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {role} prompt for {capability} cannot be used: {why}")]
pub struct TemplateError {
    /// Whose prompt.
    pub capability: String,
    /// `system` or `user`.
    pub role: &'static str,
    /// Its line, from 1, where that is known.
    pub line: Option<usize>,
    /// What is wrong with it, and what to do.
    pub why: String,
}

/// The rules that all prompts are rendered by.
pub(super) fn environment() -> Environment<'static> {
    let mut templates = Environment::new();
    // A misspelled name in a user's template must not become a silent gap in a prompt.
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    // Lines that hold only a block tag leave nothing behind.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    if let Ok(syntax) = syntax {
        templates.set_syntax(syntax);
    }
    templates.add_filter("quoted", quoted);
    templates
}

/// Makes a text a prompt for steps of this capability.
pub(super) fn compile(
    templates: &mut Environment<'static>,
    capability: &str,
    role: &'static str,
    source: String,
) -> Result<Prompt, TemplateError> {
    if !MARKUP.iter().any(|markup| source.contains(markup)) {
        return Ok(Prompt::Fixed(source.into()));
    }
    let wrong = |line, why| TemplateError { capability: capability.trim().into(), role, line, why };
    let broken = |error: &minijinja::Error| wrong(error.line(), format!("{}; correct it there", words(error)));
    let name = format!("{capability}.{role}");
    templates.add_template_owned(name.clone(), source.clone()).map_err(|error| broken(&error))?;
    let template = templates.get_template(&name).map_err(|error| broken(&error))?;
    let is_known = |name: &str| NAMES.contains(&name) || templates.globals().any(|(global, _)| global == name);
    let mut unknown: Vec<_> = template.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| !is_known(name));
    unknown.sort();
    if let Some(name) = unknown.first() {
        let line = source.lines().position(|line| line.contains(name.as_str())).map(|above| above + 1);
        return Err(wrong(line, format!("there is no {name:?} to show; a prompt sees {}", NAMES.join(", "))));
    }
    use ErrorKind::{UndefinedError, UnknownFilter, UnknownFunction, UnknownMethod, UnknownTest};
    // What a task's own data may hold or lack is that task's business.
    let depends = ["context.", "context[", ".output"].iter().any(|data| source.contains(data));
    let [bare, full] = Inputs::samples();
    for (inputs, is_full) in [(full, true), (bare, false)] {
        let Err(error) = template.render(Value::from_object(inputs)) else { continue };
        match error.kind() {
            UnknownFilter | UnknownFunction | UnknownMethod | UnknownTest => return Err(broken(&error)),
            UndefinedError if is_full && !depends => {
                let why = "something on that line is not there; docs/teams.md lists what a prompt sees";
                return Err(wrong(error.line(), why.to_owned()));
            }
            _ => {}
        }
    }
    Ok(Prompt::Rendered(name))
}

/// What an error says, without the place, which is told apart.
fn words(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()))
}

//! What a model is asked and what it answers, in no provider's words. Each provider translates from here and back; nobody
//! else knows how any of them writes it.

use super::{Passage, Usage};
use crate::task::{Capability, Json};
use std::sync::Arc;

/// One question to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// For which capability, where a provider treats them differently (`mock`).
    pub capability: Capability,
    /// The question itself, for providers that work on evidence.
    pub question: Arc<str>,
    /// The evidence.
    pub passages: Vec<Passage>,
    /// Which model, by the provider's name for it; the provider's own when none.
    pub model: Option<Arc<str>>,
    /// What was said so far, the oldest first.
    pub messages: Vec<ChatMessage>,
    /// What the model may call.
    pub tools: Vec<Tool>,
    /// Whether it must.
    pub tool_choice: ToolChoice,
    /// In which form it is to answer.
    pub format: Format,
    /// How freely it chooses its words.
    pub sampling: Sampling,
}

impl Completion {
    /// A question of a system prompt, which may be empty, and a user prompt.
    pub fn prompted(capability: Capability, system: impl Into<Arc<str>>, user: impl Into<Arc<str>>) -> Self {
        let (system, user) = (system.into(), user.into());
        let question = user.clone();
        let system = Some(system).filter(|text| !text.is_empty()).map(ChatMessage::System);
        Self {
            capability,
            question,
            passages: Vec::new(),
            model: None,
            messages: system.into_iter().chain([ChatMessage::User(user)]).collect(),
            tools: Vec::new(),
            tool_choice: ToolChoice::default(),
            format: Format::default(),
            sampling: Sampling::default(),
        }
    }

    /// All that the system says, a blank line between its messages.
    pub fn system_prompt(&self) -> Arc<str> {
        self.said(|message| if let ChatMessage::System(text) = message { Some(text) } else { None })
    }

    /// All that the user says, likewise.
    pub fn user_prompt(&self) -> Arc<str> {
        self.said(|message| if let ChatMessage::User(text) = message { Some(text) } else { None })
    }

    fn said<'a>(&'a self, text_of: impl Fn(&'a ChatMessage) -> Option<&'a Arc<str>>) -> Arc<str> {
        let texts: Vec<_> = self.messages.iter().filter_map(text_of).collect();
        match texts.as_slice() {
            [] => "".into(),
            [only] => Arc::clone(only),
            texts => texts.iter().map(|text| &***text).collect::<Vec<_>>().join("\n\n").into(),
        }
    }
}

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum ChatMessage {
    /// What holds for the whole conversation.
    System(Arc<str>),
    /// Who asks.
    User(Arc<str>),
    /// What the model said earlier.
    Assistant {
        /// Its words; may be empty beside calls.
        text: Arc<str>,
        /// What it called.
        calls: Vec<ToolCall>,
    },
    /// What a call gave.
    Tool {
        /// The call's id.
        call: Arc<str>,
        /// The tool's name, which some providers want again.
        name: Arc<str>,
        /// The result.
        text: Arc<str>,
    },
}

/// Something that a model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: Arc<str>,
    /// What it is good for.
    pub description: Option<Arc<str>>,
    /// The JSON Schema of its arguments; none when it takes none.
    pub parameters: Option<Json>,
}

/// Whether a model must call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// It must not.
    None,
    /// It must call something.
    Required,
    /// It must call this one.
    Named(Arc<str>),
}

/// A call that a model makes.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolCall {
    /// What its result is named by.
    pub id: Arc<str>,
    /// The tool.
    pub name: Arc<str>,
    /// The arguments, as the model wrote them: JSON, if it kept to it.
    pub arguments: Arc<str>,
    /// What Gemini wants back with the call, unread (`thoughtSignature`).
    pub signature: Option<Arc<str>>,
}

/// In which form an answer is to be.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Format {
    /// Words.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that fits this schema.
    JsonSchema {
        /// The schema's name.
        name: Arc<str>,
        /// The JSON Schema.
        schema: Json,
        /// Whether the provider is asked to hold the model to it.
        strict: bool,
    },
}

/// How freely a model chooses its words; the provider's defaults where nothing is said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// From 0, always the likeliest word, to 2.
    pub temperature: Option<f64>,
    /// Only words that together are so likely, 0 to 1.
    pub top_p: Option<f64>,
    /// At most so many tokens.
    pub max_tokens: Option<u32>,
    /// It ends before any of these.
    pub stop: Vec<Arc<str>>,
    /// For the same answer again, where a provider can.
    pub seed: Option<i64>,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Which provider.
    pub provider: Arc<str>,
    /// Which model, as the provider names it.
    pub model: Arc<str>,
    /// Its words; may be empty beside calls.
    pub text: Arc<str>,
    /// What it calls.
    pub calls: Vec<ToolCall>,
    /// Why it ended.
    pub finish: Finish,
    /// The passages that the words rest on, in the order in which they are cited (`[1]` is the first).
    pub citations: Vec<Passage>,
    /// Tokens in and out, where the provider counts them.
    pub usage: Option<Usage>,
}

impl Answer {
    /// These words, and nothing else.
    pub fn said(provider: impl Into<Arc<str>>, model: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            provider: provider.into(),
            model: model.into(),
            text: text.into(),
            calls: Vec::new(),
            finish: Finish::Stop,
            citations: Vec::new(),
            usage: None,
        }
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It is complete.
    Stop,
    /// It is as long as it may be.
    Length,
    /// It waits for what its calls give.
    ToolCalls,
    /// The rest was held back.
    Filtered,
}

/// A piece of an answer that comes as it is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// More words.
    Text(Arc<str>),
    /// A call begins, or goes on: by its place among the calls. Id and name come with its first piece.
    Call {
        /// Its place, from 0.
        place: u32,
        /// Its id.
        id: Option<Arc<str>>,
        /// The tool.
        name: Option<Arc<str>>,
        /// More of its arguments.
        arguments: Arc<str>,
        /// As in [`ToolCall`].
        signature: Option<Arc<str>>,
    },
    /// The end, once.
    End {
        /// Which model it was.
        model: Arc<str>,
        /// Why it ended.
        finish: Finish,
        /// What it used, where the provider says so.
        usage: Option<Usage>,
    },
}

impl Piece {
    /// Whether it is a part of the answer itself: after such a one nobody else can answer in its place.
    pub fn is_content(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Call { .. } => true,
            Self::End { .. } => false,
        }
    }
}

/// Texts that are to become vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Which model, by the provider's name for it; the provider's own when none.
    pub model: Option<Arc<str>>,
    /// The texts, none of them empty.
    pub texts: Vec<Arc<str>>,
    /// How many numbers each vector is to have, where the model can.
    pub dimensions: Option<u32>,
}

/// The vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// Which model, as the provider names it.
    pub model: Arc<str>,
    /// One for each text, in their order.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens in, where the provider counts them.
    pub usage: Option<Usage>,
}

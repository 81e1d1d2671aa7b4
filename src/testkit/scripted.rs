//! A model that does what a script says, and remembers what it was asked. The same script makes an agent, for a team in
//! which a step itself is to fail; what a script does not mention is answered as by the provider `mock`.

use crate::agents::{Agent, AgentError, BoxFuture, Output, Think};
use crate::llm::{Fault, Mock, MockSettings, Provider, Trouble};
use crate::messages::{Answer, Completion, Passage, Usage, Work};
use crate::task::{Capability, Json};
use parking_lot::Mutex;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// A scripted model or agent; clones share the script and the record, so a test keeps one of them to look at.
#[derive(Clone, Default)]
pub struct Scripted(Arc<Inner>);

struct Inner {
    lines: Mutex<Vec<Line>>,
    asked: Mutex<Vec<Completion>>,
    mock: Mock,
    /// One permit for each call that may go on.
    released: Semaphore,
}

/// Which calls a line of a script is for.
#[derive(Debug, Clone)]
pub struct Cue {
    /// None is every capability.
    capability: Option<Capability>,
    words: Option<String>,
    number: Number,
}

/// Which of a capability's calls, counted from 1.
#[derive(Debug, Clone, Copy)]
enum Number {
    Any,
    Only(u64),
    Every(NonZeroU64),
}

/// One line of a script: on this cue, do that.
#[derive(Debug, Clone)]
pub struct Line {
    cue: Cue,
    latency: Option<Duration>,
    waits: bool,
    act: Act,
}

#[derive(Debug, Clone)]
enum Act {
    /// What `mock` would say.
    Mock,
    Answer(Box<Result<Answer, Trouble>>),
    Fault(Fault),
}

/// A cue for the calls of one capability.
pub fn when(capability: &str) -> Cue {
    Cue { capability: Some(Capability::trusted(capability)), words: None, number: Number::Any }
}

/// A cue for every call.
pub fn always() -> Cue {
    Cue { capability: None, words: None, number: Number::Any }
}

// === impl Cue ===

impl Cue {
    /// Only the n-th call of its capability, from 1.
    pub fn nth(self, n: u64) -> Self {
        Self { number: Number::Only(n), ..self }
    }

    /// Every n-th call of its capability; 0 counts as 1.
    pub fn every(self, n: u64) -> Self {
        Self { number: Number::Every(NonZeroU64::new(n).unwrap_or(NonZeroU64::MIN)), ..self }
    }

    /// Only questions that hold these words.
    pub fn asked(self, words: &str) -> Self {
        Self { words: Some(words.into()), ..self }
    }

    /// The answer is this.
    pub fn says(self, text: &str) -> Line {
        self.answers(Ok(Answer::said("scripted", "scripted-1", text)))
    }

    /// The call fails, and may be tried again.
    pub fn fails(self) -> Line {
        self.meets(Fault::Error)
    }

    /// The call panics.
    pub fn panics(self) -> Line {
        self.meets(Fault::Panic)
    }

    /// The call meets this fault.
    pub fn meets(self, fault: Fault) -> Line {
        self.does(Act::Fault(fault))
    }

    /// The call waits until it is released, and is answered as by `mock` then.
    pub fn waits(self) -> Line {
        Line { waits: true, ..self.does(Act::Mock) }
    }

    /// The answer or the error is exactly this.
    pub fn answers(self, answer: Result<Answer, Trouble>) -> Line {
        self.does(Act::Answer(Box::new(answer)))
    }

    fn does(self, act: Act) -> Line {
        Line { cue: self, latency: None, waits: false, act }
    }

    fn fits(&self, call: &Completion, number: u64) -> bool {
        let is_its_number = match self.number {
            Number::Any => true,
            Number::Only(only) => number == only,
            Number::Every(every) => number.is_multiple_of(every.get()),
        };
        is_its_number
            && self.capability.as_ref().is_none_or(|capability| *capability == call.capability)
            && self.words.as_ref().is_none_or(|words| call.question.contains(words))
    }
}

// === impl Line ===

impl Line {
    /// How long the call takes.
    pub fn after(self, latency: Duration) -> Self {
        Self { latency: Some(latency), ..self }
    }

    /// The passages that the answer cites.
    pub fn citing(mut self, passages: Vec<Passage>) -> Self {
        if let Act::Answer(answer) = &mut self.act
            && let Ok(answer) = answer.as_mut()
        {
            answer.citations = passages;
        }
        self
    }

    /// What the answer costs.
    pub fn costing(mut self, usage: Usage) -> Self {
        if let Act::Answer(answer) = &mut self.act
            && let Ok(answer) = answer.as_mut()
        {
            answer.usage = Some(usage);
        }
        self
    }
}

// === impl Scripted ===

impl Scripted {
    /// Plays a `mock_script`, as in the settings.
    ///
    /// # Panics
    /// When it is none.
    pub fn script(text: &str) -> Self {
        let settings = MockSettings::from_text("", text).unwrap_or_else(|error| panic!("{error}"));
        Self(Arc::new(Inner { mock: Mock::new(settings), ..Inner::default() }))
    }

    /// Adds a line. The first line that fits a call counts.
    pub fn line(self, line: Line) -> Self {
        self.0.lines.lock().push(line);
        self
    }

    /// Lets that many waiting calls go on, now or when they come.
    pub fn release(&self, calls: usize) {
        self.0.released.add_permits(calls);
    }

    /// All that it was asked, in order.
    pub fn asked(&self) -> Vec<Completion> {
        self.0.asked.lock().clone()
    }

    /// What it was asked for one capability, in order.
    pub fn asked_to(&self, capability: &str) -> Vec<Completion> {
        self.asked().into_iter().filter(|call| call.capability.as_str() == capability).collect()
    }

    async fn play(&self, call: &Completion) -> Result<Answer, Trouble> {
        let number = self.0.mock.count(&call.capability);
        self.0.asked.lock().push(call.clone());
        let line = self.0.lines.lock().iter().find(|line| line.cue.fits(call, number)).cloned();
        let Some(line) = line else { return self.0.mock.answer_numbered(call, number).await };
        if let Some(latency) = line.latency {
            tokio::time::sleep(latency).await;
        }
        if line.waits {
            // Nobody closes it.
            let permit = self.0.released.acquire().await.expect("the semaphore is open");
            permit.forget();
        }
        match line.act {
            Act::Mock => Mock::carry_out(call, number, None).await,
            Act::Fault(fault) => Mock::carry_out(call, number, Some(fault)).await,
            Act::Answer(answer) => *answer,
        }
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self { lines: Mutex::default(), asked: Mutex::default(), mock: Mock::default(), released: Semaphore::new(0) }
    }
}

impl Provider for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn complete<'a>(&'a self, call: &'a Completion) -> BoxFuture<'a, Result<Answer, Trouble>> {
        Box::pin(self.play(call))
    }
}

/// The script's lines are the steps' outcomes: a failure is the agent's own, and so is a panic.
impl Agent for Scripted {
    fn perform<'a>(&'a self, work: &'a Work, _: &'a dyn Think) -> BoxFuture<'a, Result<Json, AgentError>> {
        Box::pin(async move {
            let call = Completion::prompted(work.capability.clone(), "", work.objective.clone());
            let answer = self.play(&call).await.map_err(|trouble| AgentError::of_model(work, trouble.into()))?;
            let generated = answer.into();
            Output::of(work, "scripted").answered(&generated).citations(&generated.citations).json()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::TroubleKind;
    use futures_util::FutureExt as _;
    use std::panic::AssertUnwindSafe;

    fn call(capability: &str, question: &str) -> Completion {
        Completion::prompted(Capability::trusted(capability), "", question)
    }

    #[tokio::test]
    async fn the_first_line_that_fits_counts_and_the_rest_is_the_mocks() {
        let model = Scripted::default()
            .line(when("a").asked("why").says("because"))
            .line(when("a").nth(2).fails())
            .line(always().every(3).panics());
        let say = async |capability: &str, question: &str| model.complete(&call(capability, question)).await;
        assert_eq!(&*say("a", "but why?").await.unwrap().text, "because");
        assert!(matches!(say("a", "how?").await, Err(trouble) if trouble.kind == TroubleKind::Unavailable));
        let third = call("a", "how?");
        assert!(AssertUnwindSafe(model.complete(&third)).catch_unwind().await.is_err());
        assert_eq!(&*say("b", "how?").await.unwrap().provider, "mock");
        let asked: Vec<_> = model.asked().iter().map(|call| call.question.to_string()).collect();
        assert_eq!(
            (asked, model.asked_to("b").len()),
            (["but why?", "how?", "how?", "how?"].map(String::from).to_vec(), 1)
        );
    }

    #[tokio::test]
    async fn latencies_and_releases_are_waited_for() {
        tokio::time::pause();
        let model =
            Scripted::default().line(when("a").says("late").after(Duration::from_secs(5))).line(always().waits());
        let before = tokio::time::Instant::now();
        model.complete(&call("a", "?")).await.unwrap();
        assert!(before.elapsed() >= Duration::from_secs(5));
        let waiting = call("b", "?");
        let mut waiting = model.complete(&waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        model.release(1);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn a_script_of_the_settings_is_played_as_the_mock_plays_it() {
        let model = Scripted::script("a:fatal@2");
        assert!(model.complete(&call("a", "?")).await.is_ok());
        assert!(matches!(model.complete(&call("a", "?")).await, Err(trouble) if trouble.kind == TroubleKind::Invalid));
    }
}

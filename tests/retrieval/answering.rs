//! What a user reads: the judged questions through the four steps of the default team without a model. Does the answer
//! hold what was judged, cite it, refuse what the documents do not answer, and keep to the question's language?

use crate::set::{Language, Question, Quotes, bare};
use callboard::agents::{Agent, PromptAgent, Retriever, Think, Thought};
use callboard::llm::{Extractive, Provider};
use callboard::messages::{Earlier, Generated, ModelError, Passage, Phase, Work};
use callboard::task::{AgentId, AttemptNo, Capability, Incarnation, Json, StepId, TaskId, TaskKey, Tenant};
use futures_util::future::BoxFuture;
use std::collections::HashSet;

/// From this share of common character pairs on, two sentences say the same.
const SAME: f64 = 0.8;

/// Means over a language's questions.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Of the answerable questions, the share whose answer quotes a judged place that answers (grade 2).
    pub answer_recall: f64,
    /// Of the citations in those answers, the share that names a passage which holds a judged place of any grade.
    pub citation_precision: f64,
    /// Of the answerable questions, the share that got "not found".
    pub false_refusals: f64,
    /// Of the questions without an answer in the documents, the share that got one all the same.
    pub false_answers: f64,
    /// Of the answers, the share with two sentences that say the same.
    pub repetition: f64,
    /// Of all outputs for the user, the share whose words are in the question's language.
    pub language_match: f64,
    /// Mean number of sentences or lines quoted in an answer.
    pub sentences: f64,
}

/// The port with the provider behind it and nothing in between.
struct Direct {
    provider: Extractive,
    capability: Capability,
}

impl Think for Direct {
    fn think(&self, thought: Thought) -> BoxFuture<'_, Result<Generated, ModelError>> {
        let completion = thought.completion(self.capability.clone());
        Box::pin(async move { Ok(self.provider.complete(&completion).await?.into()) })
    }

    fn progress(&self, _: Phase) {}
}

/// What came out for one question.
struct Answered {
    text: String,
    /// The cited passages, whole.
    cited: Vec<Passage>,
    retrieved: Vec<Passage>,
}

async fn ask(question: &str, retriever: &Retriever, thinker: &PromptAgent) -> Answered {
    let mut earlier: Vec<Earlier> = Vec::new();
    for capability in ["analyze", "retrieve", "evaluate", "finalize"] {
        let capability = Capability::trusted(capability);
        let step = StepId::trusted(format!("judged-P{}", earlier.len() + 1));
        let work = Work {
            key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("judged") },
            step: step.clone(),
            attempt: AttemptNo(1),
            agent: AgentId::trusted("judge"),
            incarnation: Some(Incarnation::trusted("one")),
            deadline_ms: 600_000,
            capability: capability.clone(),
            objective: question.into(),
            context: Json::from_text("{}".into()).unwrap(),
            earlier: earlier.clone(),
        };
        let think = Direct { provider: Extractive::new(), capability: capability.clone() };
        let agent: &dyn Agent = if capability.as_str() == "retrieve" { retriever } else { thinker };
        let output = agent.perform(&work, &think).await.unwrap();
        earlier.push(Earlier { step, capability, output });
    }
    let output = |step: usize| earlier[step].output.parse::<serde_json::Value>().unwrap();
    let list = |output: &serde_json::Value, key: &str| -> Vec<Passage> {
        output.get(key).map(|list| serde_json::from_value(list.clone()).unwrap()).unwrap_or_default()
    };
    let (found, last) = (output(1), output(3));
    let retrieved = list(&found, "passages");
    let whole = |cited: Passage| {
        let same = |passage: &&Passage| passage.file == cited.file && passage.line == cited.line;
        retrieved.iter().find(same).cloned().unwrap_or(cited)
    };
    let cited = list(&last, "citations").into_iter().map(whole).collect();
    Answered { text: last["text"].as_str().unwrap().to_owned(), cited, retrieved }
}

/// Asks every question; prints where an answer is not what was judged, and gives the figures per language.
pub async fn measure(questions: &[Question], retriever: &Retriever, quotes: &Quotes) -> Vec<(Language, Figures)> {
    let thinker = PromptAgent::new("judged").unwrap();
    let mut all = Vec::new();
    for language in Language::ALL {
        let mut tally = Tally::default();
        for question in questions.iter().filter(|question| question.language == language) {
            let answered = ask(&question.question, retriever, &thinker).await;
            tally.add(question, &answered, quotes);
        }
        let figures = tally.figures();
        println!(
            "ANSWERS {language}: {} answerable and {} not; answer recall {:.3} (a judged place was retrieved for {:.3}), \
             citation precision {:.3}, false refusals {:.3}, false answers {:.3}, repetition {:.3}, language match {:.3}, \
             {:.1} sentences",
            tally.answerable,
            tally.unanswerable,
            figures.answer_recall,
            tally.retrieved / tally.answerable,
            figures.citation_precision,
            figures.false_refusals,
            figures.false_answers,
            figures.repetition,
            figures.language_match,
            figures.sentences
        );
        all.push((language, figures));
    }
    all
}

#[derive(Default)]
struct Tally {
    answerable: f64,
    unanswerable: f64,
    retrieved: f64,
    right: f64,
    cited: f64,
    cited_right: f64,
    false_refusals: f64,
    false_answers: f64,
    answers: f64,
    repeating: f64,
    in_language: f64,
    sentences: f64,
}

impl Tally {
    fn add(&mut self, question: &Question, answered: &Answered, quotes: &Quotes) {
        let refused = answered.cited.is_empty();
        self.in_language += f64::from(speaks(&answered.text, question.language));
        if !speaks(&answered.text, question.language) {
            println!("in another language ({}): {}\n    {}", question.id, question.question, brief(&answered.text));
        }
        if !refused {
            let sentences = sentences(&answered.text);
            self.answers += 1.0;
            self.sentences += sentences.len() as f64;
            self.repeating += f64::from(repeats(&sentences));
        }
        if !question.is_answerable() {
            self.unanswerable += 1.0;
            self.false_answers += f64::from(!refused);
            if !refused {
                println!(
                    "answered what is not there ({}): {}\n    {}",
                    question.id,
                    question.question,
                    brief(&answered.text)
                );
            }
            return;
        }
        self.answerable += 1.0;
        let holds = |text: &str, file: Option<&str>, least: u8| {
            let text = bare(text);
            let judged = question.answered_by.iter().filter(|judgement| judgement.grade >= least);
            judged
                .into_iter()
                .any(|judgement| quotes.holds(&text, file.is_none_or(|file| file == judgement.file), judgement))
        };
        let right = holds(&answered.text, None, 2);
        let retrieved = answered.retrieved.iter().any(|passage| holds(&passage.text, Some(&passage.file), 2));
        self.retrieved += f64::from(retrieved);
        self.right += f64::from(right);
        self.false_refusals += f64::from(refused);
        self.cited += answered.cited.len() as f64;
        let cited_right = answered.cited.iter().filter(|passage| holds(&passage.text, Some(&passage.file), 1)).count();
        self.cited_right += cited_right as f64;
        if retrieved && !right {
            let how = if refused { "refused" } else { "answered beside" };
            println!(
                "{how} what was retrieved ({}): {}\n    {}",
                question.id,
                question.question,
                brief(&answered.text)
            );
        }
    }

    fn figures(&self) -> Figures {
        let share = |some: f64, all: f64| if all > 0.0 { some / all } else { 0.0 };
        Figures {
            answer_recall: share(self.right, self.answerable),
            citation_precision: share(self.cited_right, self.cited),
            false_refusals: share(self.false_refusals, self.answerable),
            false_answers: share(self.false_answers, self.unanswerable),
            repetition: share(self.repeating, self.answers),
            language_match: share(self.in_language, self.answerable + self.unanswerable),
            sentences: share(self.sentences, self.answers),
        }
    }
}

fn brief(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

/// What stands between the citation marks.
fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let (mark, behind) = after.split_once(']').unwrap_or((after, ""));
        if mark.parse::<usize>().is_ok() {
            found.push(bare(before));
        }
        rest = behind;
    }
    found.retain(|sentence| !sentence.is_empty());
    found
}

fn repeats(sentences: &[String]) -> bool {
    let pairs = |text: &String| -> HashSet<(char, char)> { text.chars().zip(text.chars().skip(1)).collect() };
    let sets: Vec<_> = sentences.iter().map(pairs).collect();
    (0..sets.len()).any(|one| {
        (0..one).any(|other| {
            let common = sets[one].intersection(&sets[other]).count() as f64;
            common >= SAME * sets[one].len().min(sets[other].len()) as f64
        })
    })
}

/// Whether an answer is in a language: an English one without Chinese characters beyond a name, a Chinese one with at
/// least a tenth of them, as commands stay what they are.
fn speaks(text: &str, language: Language) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count() as f64;
    let chinese = text.chars().filter(|c| ('\u{3400}'..='\u{9fff}').contains(c)).count() as f64;
    match language {
        Language::En => chinese <= 0.05 * letters,
        Language::Zh => chinese >= 0.1 * letters,
    }
}

#[test]
fn repetition_and_language_are_told() {
    let answer = "Leases run five seconds. [1] A lease runs for a minute. [2]\n(note)";
    assert_eq!(sentences(answer), ["leasesrunfiveseconds", "aleaserunsforaminute"]);
    assert!(!repeats(&sentences(answer)));
    assert!(repeats(&sentences("Leases run five seconds. [1] A lease. [2] Leases now run five seconds. [3]")));
    assert!(speaks("輸入 reset [1]", Language::Zh) && !speaks("輸入 reset [1]", Language::En));
    assert!(speaks("type reset [1]", Language::En) && !speaks("type reset [1]", Language::Zh));
}

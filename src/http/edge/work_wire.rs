//! The wire's `WorkRequest`, written from a step's work and read back as it. It carries the full values that the
//! predecessor's workers expect: the last output, and each stage's by its capability. Which step each came from, which the
//! predecessor does not say, rides beside them.

use super::keys::wire_task;
use crate::http::error::ApiError;
use crate::http::request::{json, json_error};
use crate::messages::{Earlier, Work};
use crate::task::{AgentId, AttemptNo, Capability, Incarnation, Json, Priority, StepId, TaskId, TaskKey, Tenant};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// What every stage's entry in a context begins with.
const STAGE: &str = "stage_";

/// How a worker is to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ReplyMode {
    /// At once that it accepts, and with the result at its callback later.
    #[default]
    Async,
    /// With the result.
    Sync,
}

// === Writing ===

/// Whom work is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// A worker as the predecessor's: every value stands where that one looks for it.
    Foreign,
    /// One that reads the stages: each output stands once.
    Stages,
}

/// A step's work as it is sent.
#[derive(Serialize)]
pub(super) struct WorkOut<'a> {
    task_id: &'a str,
    sub_id: &'a str,
    command: &'a str,
    data: DataOut<'a>,
    context: ContextOut<'a>,
    priority: Priority,
    reply_mode: ReplyMode,
}

/// What a step works on.
#[derive(Serialize)]
#[serde(untagged)]
enum DataOut<'a> {
    /// Put together from a task's state.
    Planned(PlannedOut<'a>),
    /// As whoever dispatched the step gave it.
    Dispatched(Entries<'a>),
}

#[derive(Serialize)]
struct PlannedOut<'a> {
    objective: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_output: Option<Option<&'a Json>>,
    context: &'a Json,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageOut<'a>>,
}

#[derive(Serialize)]
struct StageOut<'a> {
    sub_id: &'a str,
    capability: &'a str,
    /// Only where another stage has the entry that its capability names.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a Json>,
}

/// A task's context with one entry for each finished stage.
struct ContextOut<'a> {
    own: Entries<'a>,
    earlier: &'a [Earlier],
}

/// What a dispatched step's task has for a context: what its caller gave.
#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    data: Entries<'a>,
    #[serde(borrow)]
    context: Entries<'a>,
}

impl<'a> WorkOut<'a> {
    pub fn of(work: &'a Work, priority: Priority, reader: Reader) -> Self {
        let (earlier, is_foreign) = (&work.earlier, reader == Reader::Foreign);
        let is_named = |at: usize| is_foreign && last_of(earlier, &earlier[at].capability) == Some(at);
        let stages = earlier.iter().enumerate().map(|(at, earlier)| StageOut {
            sub_id: earlier.step.as_str(),
            capability: earlier.capability.as_str(),
            output: (!is_named(at)).then_some(&earlier.output),
        });
        let task_id = wire_task(&work.key, &work.step);
        let is_dispatched = task_id != work.key.id.as_str();
        let given = is_dispatched.then(|| work.context.parse::<Given<'_>>().ok()).flatten();
        let planned = || PlannedOut {
            objective: &work.objective,
            previous_output: is_foreign.then(|| earlier.last().map(|earlier| &earlier.output)),
            context: &work.context,
            stages: stages.collect(),
        };
        let (data, own) = match given {
            Some(given) => (DataOut::Dispatched(given.data), given.context),
            None if is_foreign => (DataOut::Planned(planned()), work.context.parse().unwrap_or_default()),
            // Its own context stands in the data.
            None => (DataOut::Planned(planned()), Entries::default()),
        };
        let named = if is_foreign { earlier.as_slice() } else { &[] };
        Self {
            task_id,
            sub_id: work.step.as_str(),
            command: work.capability.as_str(),
            data,
            context: ContextOut { own, earlier: named },
            priority,
            reply_mode: ReplyMode::Async,
        }
    }
}

/// Which of the outputs is the last of a capability's.
fn last_of(earlier: &[Earlier], capability: &Capability) -> Option<usize> {
    earlier.iter().rposition(|earlier| earlier.capability == *capability)
}

impl Serialize for ContextOut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_stage = |name: &str| {
            let capability = name.strip_prefix(STAGE);
            capability.is_some_and(|capability| self.earlier.iter().any(|one| one.capability.as_str() == capability))
        };
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.own.0.iter().filter(|(name, _)| !is_stage(name)) {
            map.serialize_entry(name, value)?;
        }
        for (at, earlier) in self.earlier.iter().enumerate() {
            if last_of(self.earlier, &earlier.capability) == Some(at) {
                map.serialize_entry(&format!("{STAGE}{}", earlier.capability), &earlier.output)?;
            }
        }
        map.end()
    }
}

// === Reading ===

/// A JSON object's entries in their order, each value as its text.
#[derive(Default)]
pub(super) struct Entries<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Entries<'a> {
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, value)| *value)
    }
}

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    entries.push((entry.0.0, entry.1));
                }
                Ok(Entries(entries))
            }
        }
        /// A key, borrowed where it holds no escape.
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        deserializer.deserialize_map(Object)
    }
}

/// A `WorkRequest` as others write it.
#[derive(Deserialize)]
pub(super) struct WorkIn<'a> {
    pub task_id: String,
    pub sub_id: String,
    pub command: String,
    #[serde(borrow, default)]
    pub data: Entries<'a>,
    #[serde(borrow, default)]
    pub context: Entries<'a>,
    #[serde(default)]
    pub priority: Priority,
    #[serde(default)]
    pub reply_mode: ReplyMode,
}

#[derive(Deserialize)]
struct StageIn<'a> {
    sub_id: StepId,
    capability: Capability,
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

/// What of a work's life stands in headers, or in nothing for a foreign master.
pub(super) struct Assignment {
    pub attempt: AttemptNo,
    pub agent: AgentId,
    pub incarnation: Option<Incarnation>,
    pub deadline_ms: u64,
}

impl<'a> WorkIn<'a> {
    pub fn parse(body: &'a [u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(body).map_err(|error| {
            // Told apart as everywhere: no JSON at all, or JSON of another form.
            json::<IgnoredAny>(body).err().unwrap_or_else(|| json_error(&error))
        })
    }

    pub fn capability(&self) -> Result<Capability, ApiError> {
        Capability::parse(&self.command).map_err(|error| ApiError::invalid("command", error.to_string()))
    }

    /// What is asked, in the words of whoever asks; the command itself where there are no words.
    pub fn objective(&self) -> String {
        let text = |name| self.data.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
        text("objective").or_else(|| text("description")).unwrap_or_else(|| self.command.clone())
    }

    /// The step's work. The wire carries no tenant, so that its task is nobody's in particular here.
    pub fn work(&self, assignment: Assignment) -> Result<Work, ApiError> {
        let invalid =
            |field: &'static str| move |error: crate::task::InvalidId| ApiError::invalid(field, error.to_string());
        let id = TaskId::parse(&self.task_id).map_err(invalid("task_id"))?;
        let Assignment { attempt, agent, incarnation, deadline_ms } = assignment;
        Ok(Work {
            key: TaskKey { tenant: Tenant::default(), id },
            step: StepId::parse(&self.sub_id).map_err(invalid("sub_id"))?,
            attempt,
            agent,
            incarnation,
            deadline_ms,
            capability: self.capability()?,
            objective: self.objective().into(),
            context: self.own_context(),
            earlier: self.earlier(),
        })
    }

    /// The task's own context: what came apart, or else what is left without the stages.
    pub fn own_context(&self) -> Json {
        if let Some(context) = self.data.get("context").filter(|value| value.get().starts_with('{')) {
            return as_json(context);
        }
        let own = self.context.0.iter().filter(|(name, _)| !name.starts_with(STAGE));
        let own: serde_json::Map<String, serde_json::Value> = own
            .filter_map(|(name, value)| Some((name.clone().into_owned(), serde_json::from_str(value.get()).ok()?)))
            .collect();
        Json::of(&own).unwrap_or_else(|_| Json::empty())
    }

    /// The outputs so far. A foreign master does not say which steps they are of: they are numbered as it numbers its
    /// own.
    fn earlier(&self) -> Vec<Earlier> {
        let stages =
            self.data.get("stages").and_then(|stages| serde_json::from_str::<Vec<StageIn<'_>>>(stages.get()).ok());
        if let Some(stages) = stages {
            let output = |stage: &StageIn<'a>| {
                stage.output.or_else(|| self.context.get(&format!("{STAGE}{}", stage.capability))).map(as_json)
            };
            let earlier = |stage: StageIn<'a>| {
                let output = output(&stage)?;
                Some(Earlier { step: stage.sub_id, capability: stage.capability, output })
            };
            return stages.into_iter().filter_map(earlier).collect();
        }
        let stages = self.context.0.iter().filter_map(|(name, value)| Some((name.strip_prefix(STAGE)?, *value)));
        let numbered = stages.zip(1..).filter_map(|((capability, value), number)| {
            let step = StepId::parse(&format!("{}-P{number}", self.task_id)).ok()?;
            Some(Earlier { step, capability: Capability::parse(capability).ok()?, output: as_json(value) })
        });
        let earlier: Vec<_> = numbered.collect();
        match self.data.get("previous_output").filter(|value| earlier.is_empty() && value.get() != "null") {
            Some(previous) => {
                let (step, capability) = (StepId::trusted("previous"), Capability::trusted("previous"));
                vec![Earlier { step, capability, output: as_json(previous) }]
            }
            None => earlier,
        }
    }
}

fn as_json(value: &RawValue) -> Json {
    Json::from_text(value.get().to_owned()).unwrap_or_else(|_| Json::null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json_of(text: &str) -> Json {
        Json::from_text(text.to_owned()).unwrap()
    }

    fn earlier(number: u32, capability: &'static str, output: &str) -> Earlier {
        let step = StepId::trusted(format!("t-1-P{number}"));
        Earlier { step, capability: Capability::trusted(capability), output: json_of(output) }
    }

    fn work() -> Work {
        Work {
            key: TaskKey { tenant: Tenant::default(), id: TaskId::trusted("t-1") },
            step: StepId::trusted("t-1-P4"),
            attempt: AttemptNo(2),
            agent: AgentId::trusted("judge"),
            incarnation: Some(Incarnation::trusted("i1")),
            deadline_ms: 5000,
            capability: Capability::trusted("evaluate"),
            objective: "why?".into(),
            context: json_of(r#"{"audience":"operators","n":1.0}"#),
            earlier: vec![
                earlier(1, "analyze", r#"{"text":"a"}"#),
                earlier(2, "retrieve", r#"{"text":"first"}"#),
                earlier(3, "retrieve", r#"{"text":"second"}"#),
            ],
        }
    }

    fn assignment() -> Assignment {
        let work = work();
        let Work { attempt, agent, incarnation, deadline_ms, .. } = work;
        Assignment { attempt, agent, incarnation, deadline_ms }
    }

    #[test]
    fn work_comes_out_as_it_went_in_also_where_a_capability_comes_twice() {
        for reader in [Reader::Foreign, Reader::Stages] {
            let sent = serde_json::to_vec(&WorkOut::of(&work(), Priority::High, reader)).unwrap();
            let read = WorkIn::parse(&sent).unwrap();
            assert_eq!((read.priority, read.reply_mode), (Priority::High, ReplyMode::Async));
            assert_eq!(format!("{:?}", read.work(assignment()).unwrap()), format!("{:?}", work()));
        }
        let lengths = [Reader::Foreign, Reader::Stages]
            .map(|reader| serde_json::to_vec(&WorkOut::of(&work(), Priority::High, reader)).unwrap().len());
        assert!(lengths[1] < lengths[0], "{lengths:?}");
    }

    #[test]
    fn the_predecessors_worker_finds_everything_where_it_looks() {
        let sent = serde_json::to_value(WorkOut::of(&work(), Priority::Normal, Reader::Foreign)).unwrap();
        assert_eq!(sent["task_id"], "t-1");
        assert_eq!(sent["sub_id"], "t-1-P4");
        assert_eq!(sent["command"], "evaluate");
        assert_eq!(sent["priority"], "normal");
        assert_eq!(sent["data"]["objective"], "why?");
        assert_eq!(sent["data"]["previous_output"]["text"], "second");
        assert_eq!(sent["data"]["context"]["audience"], "operators");
        assert_eq!(sent["context"]["audience"], "operators");
        assert_eq!(sent["context"]["stage_analyze"]["text"], "a");
        assert_eq!(sent["context"]["stage_retrieve"]["text"], "second");
    }

    #[test]
    fn dispatched_work_is_passed_on_as_it_was_given() {
        let mut work = Work { earlier: Vec::new(), step: StepId::trusted("S7"), ..work() };
        work.key.id = TaskId::trusted("t-1:S7");
        work.context = json_of(r#"{"data":{"text":"x","n":1.0},"context":{"k":"v"}}"#);
        let sent = serde_json::to_value(WorkOut::of(&work, Priority::Normal, Reader::Foreign)).unwrap();
        assert_eq!((&sent["task_id"], &sent["sub_id"]), (&"t-1".into(), &"S7".into()));
        assert_eq!(sent["data"], serde_json::json!({"text": "x", "n": 1.0}));
        assert_eq!(sent["context"], serde_json::json!({"k": "v"}));
    }

    #[test]
    fn a_foreign_masters_work_is_understood() {
        let body = br#"{"task_id":"t-9","sub_id":"t-9-P3","command":"evaluate","reply_mode":"sync","extra":1,
            "data":{"objective":"why?","previous_output":{"text":"b"},"context":{"k":"v"}},
            "context":{"k":"v","stage_analyze":{"text":"a"},"stage_retrieve":{"text":"b"}}}"#;
        let read = WorkIn::parse(body).unwrap();
        assert_eq!(read.reply_mode, ReplyMode::Sync);
        let work = read.work(assignment()).unwrap();
        assert_eq!(work.context.text(), r#"{"k":"v"}"#);
        let steps: Vec<_> = work.earlier.iter().map(|one| (one.step.as_str(), one.capability.as_str())).collect();
        assert_eq!(steps, [("t-9-P1", "analyze"), ("t-9-P2", "retrieve")]);
    }

    #[test]
    fn the_least_work_is_understood_and_less_is_refused() {
        let least = WorkIn::parse(br#"{"task_id":"t-9","sub_id":"S1","command":"translate"}"#).unwrap();
        let work = least.work(assignment()).unwrap();
        assert_eq!((&*work.objective, work.context.text(), work.earlier.len()), ("translate", "{}", 0));
        let status = |body: &[u8]| {
            use actix_web::ResponseError;
            let refused = WorkIn::parse(body).and_then(|read| read.work(assignment()));
            refused.err().map(|error| error.status_code().as_u16())
        };
        for bad in [
            &br#"{"task_id":"t-9","sub_id":"S1"}"#[..],
            br#"{"task_id":"t","sub_id":"S1","command":"x"}"#,
            br#"{"task_id":"t-9","sub_id":" ","command":"x"}"#,
            br#"{"task_id":"t-9","sub_id":"S1","command":"x","data":[]}"#,
            br#"{"task_id":"t-9","sub_id":"S1","command":"x","reply_mode":"later"}"#,
        ] {
            assert_eq!(status(bad), Some(422), "{}", String::from_utf8_lossy(bad));
        }
        assert_eq!(status(b"{"), Some(400));
    }
}

//! A task's life taken through the pure core by hand: every decision from its acceptance to its end, with one agent
//! that has a free slot for each step.

use callboard::task::{
    AgentId, At, Decision, Fleet, Incarnation, Input, Json, Limits, Member, Options, Outcome, Payload, Pipeline,
    Report, Request, Submission, TaskId, TaskKey, Tenant, World, accept, decide,
};
use std::sync::Arc;

/// Output and objective of each step, in bytes.
const TEXT_BYTES: usize = 200;

/// What a life needs that is the same for all.
pub struct Desk {
    /// One agent that takes every step.
    pub fleet: Fleet,
    /// The stages.
    pub pipeline: Pipeline,
    text: Arc<str>,
}

impl Desk {
    /// A desk for this pipeline.
    pub fn new(pipeline: Pipeline) -> Self {
        let mut fleet = Fleet::new(30_000);
        let capabilities = pipeline.0.iter().map(|stage| stage.capability.clone()).collect();
        let member = Member::new(Incarnation::trusted("life-1"), capabilities, 1_000);
        fleet.join(agent(), member, At(1_000_000));
        Self { fleet, pipeline, text: "x".repeat(TEXT_BYTES).into() }
    }

    /// The four stages of the default team.
    pub fn standard() -> Self {
        Self::new(Pipeline::standard(Limits::default()))
    }

    fn world(&self) -> World<'_> {
        World { now: At(1_000_000), seed: 7, fleet: &self.fleet }
    }

    fn text(&self) -> Payload {
        Payload::Inline(Json::of(&*self.text).unwrap())
    }

    /// The decision that takes the task of this name.
    pub fn accept(&self, name: &str) -> Decision {
        let id = TaskId::trusted(name);
        let plan = self.pipeline.plan(&id).unwrap();
        let submission = Submission {
            key: TaskKey { tenant: Tenant::default(), id },
            id_given: true,
            idempotency_key: None,
            request: Request { objective: self.text.clone(), context: Json::null() },
            options: Options::default(),
        };
        accept(&submission, self.text(), plan, self.world())
    }

    /// What follows from the success of the step that runs after this decision; none once the task has ended.
    pub fn next(&self, last: &Decision) -> Option<Decision> {
        let task = &last.task;
        let running = task.plan.indices().find(|&index| task.step(index).1.current().is_some())?;
        let (spec, step) = task.step(running);
        let report = Report {
            step: spec.id.clone(),
            agent: agent(),
            attempt: step.current().map(|(no, _)| no),
            outcome: Outcome::Succeeded(self.text()),
        };
        Some(decide(task, Input::Report(report), self.world()).unwrap())
    }

    /// Every decision of a life, in order.
    pub fn life(&self, name: &str) -> Vec<Decision> {
        let first = Some(self.accept(name));
        std::iter::successors(first, |last| self.next(last)).collect()
    }
}

fn agent() -> AgentId {
    AgentId::trusted("agent-all")
}

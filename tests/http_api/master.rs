//! A master for tests: decides by the core and commits to the store, and does nothing else. Some objectives make it fail
//! on purpose.

use callboard::actors::{Behaviour, Handle, Reply, Turn};
use callboard::messages::{
    CallContext, Cancel, MasterError, Message, Receipt, StepOutcome, StepResult, Submit, Submitted,
};
use callboard::store::{Commit, Committed, MemoryStore, Store, SubmissionRecord};
use callboard::task::{
    At, AttemptEnd, CommitId, Decision, Fleet, Input, Json, Limits, Outcome, Payload, Pipeline, Refusal, Report, Task,
    TaskKey, World, accept, decide, effects,
};
use std::sync::Arc;
use uuid::Uuid;

pub struct Master {
    pub store: Arc<MemoryStore>,
    pub fleet: Arc<Fleet>,
    pub max_open: u64,
    /// Replies that are never sent, until the actor ends.
    pub unanswered: Vec<Reply<Submit>>,
}

impl Behaviour for Master {
    const KIND: &'static str = "master";
}

impl Handle<Submit> for Master {
    fn handle(&mut self, message: Submit, _context: CallContext, reply: Reply<Submit>, turn: &mut Turn<'_, Self>) {
        match &*message.0.request.objective {
            "crash" => panic!("as told"),
            "hang" => return self.unanswered.push(reply),
            "lose the store" => return reply.send(Err(MasterError::StoreUnavailable("redis://user:secret@db".into()))),
            "break" => return reply.send(Err(MasterError::Internal("secret".into()))),
            "drain" => return reply.send(Err(MasterError::Draining)),
            _ => {}
        }
        let (store, fleet, max_open) = (self.store.clone(), self.fleet.clone(), self.max_open);
        turn.spawn(submit(store, fleet, max_open, message), |_, answer, _| reply.send(answer));
    }
}

impl Handle<Cancel> for Master {
    fn handle(&mut self, message: Cancel, _context: CallContext, reply: Reply<Cancel>, turn: &mut Turn<'_, Self>) {
        let (store, fleet) = (self.store.clone(), self.fleet.clone());
        let work = async move {
            match advance(&store, &fleet, &message.key, Input::Cancel(message.reason)).await? {
                (_, Some(refusal @ Refusal::AlreadyEnded(_))) => Err(MasterError::Conflict(refusal.to_string().into())),
                (task, _) => Ok(task),
            }
        };
        turn.spawn(work, |_, answer, _| reply.send(answer));
    }
}

impl Handle<StepResult> for Master {
    fn handle(
        &mut self,
        message: StepResult,
        _context: CallContext,
        reply: Reply<StepResult>,
        turn: &mut Turn<'_, Self>,
    ) {
        let (store, fleet) = (self.store.clone(), self.fleet.clone());
        let work = async move {
            let outcome = match message.outcome {
                // A name of its own for each: the attempt's.
                StepOutcome::Succeeded(json) => {
                    let name = format!("{}-{:?}", message.step, message.attempt);
                    let (payload, apart) = Payload::of(json, || name);
                    return finish(&store, &fleet, &message.key, &message.step, payload, apart, &message.agent).await;
                }
                StepOutcome::RetryableFailure(failure) => Outcome::Ended(AttemptEnd::Failed(failure)),
                StepOutcome::FatalFailure(failure) => Outcome::Ended(AttemptEnd::Fatal(failure)),
                StepOutcome::Crashed(failure) => Outcome::Ended(AttemptEnd::Crashed(failure)),
                StepOutcome::Lost(loss) => Outcome::Ended(AttemptEnd::Lost(loss)),
            };
            let report = Report { step: message.step, agent: message.agent, attempt: message.attempt, outcome };
            receipt(advance(&store, &fleet, &message.key, Input::Report(report)).await?)
        };
        turn.spawn(work, |_, answer, _| reply.send(answer));
    }
}

async fn submit(
    store: Arc<MemoryStore>,
    fleet: Arc<Fleet>,
    max_open: u64,
    message: Submit,
) -> <Submit as Message>::Reply {
    let submission = message.0;
    let json = Json::of(&submission.request).map_err(internal)?;
    let (request, apart) = Payload::of(json, || "request".into());
    let plan = Pipeline::standard(Limits { backoff_ms: 0, ..Limits::default() }).plan(&submission.key.id);
    let world = World { now: store.now(), seed: 1, fleet: &fleet };
    let Decision { events, task } = accept(&submission, request, plan.map_err(internal)?, world);
    let record = SubmissionRecord {
        digest: submission.digest().map_err(internal)?,
        id_given: submission.id_given,
        idempotency_key: submission.idempotency_key,
        max_open,
    };
    let task = Arc::new(task);
    let commit = Commit {
        id: CommitId::trusted(Uuid::now_v7().to_string()),
        key: submission.key,
        expected: 0,
        expected_at: At(0),
        events: events.into(),
        effects: effects(None, &task).into(),
        task: task.clone(),
        slots: Vec::new(),
        payloads: apart.into_iter().collect(),
        submission: Some(record),
    };
    match store.commit(commit).await.map_err(internal)? {
        Committed::Repeated(key) => Ok(Submitted { task: load(&store, &key).await?, repeated: true }),
        Committed::Clash(clash) => Err(MasterError::Conflict(clash.to_string().into())),
        Committed::Full => Err(MasterError::Overloaded { message: "too many tasks are open".into(), retry_after_s: 3 }),
        _ => Ok(Submitted { task, repeated: false }),
    }
}

async fn finish(
    store: &MemoryStore,
    fleet: &Fleet,
    key: &TaskKey,
    step: &callboard::task::StepId,
    payload: Payload,
    apart: Option<(Arc<str>, Json)>,
    agent: &callboard::task::AgentId,
) -> Result<Receipt, MasterError> {
    let report =
        Report { step: step.clone(), agent: agent.clone(), attempt: None, outcome: Outcome::Succeeded(payload) };
    receipt(advance_with(store, fleet, key, Input::Report(report), apart).await?)
}

fn receipt((_, refusal): (Arc<Task>, Option<Refusal>)) -> Result<Receipt, MasterError> {
    match refusal {
        None => Ok(Receipt::Counted),
        Some(Refusal::Stale) => Ok(Receipt::Dropped),
        Some(other) => Err(MasterError::Conflict(other.to_string().into())),
    }
}

async fn advance(
    store: &MemoryStore,
    fleet: &Fleet,
    key: &TaskKey,
    input: Input,
) -> Result<(Arc<Task>, Option<Refusal>), MasterError> {
    advance_with(store, fleet, key, input, None).await
}

/// Decides and commits, again where somebody else was faster.
async fn advance_with(
    store: &MemoryStore,
    fleet: &Fleet,
    key: &TaskKey,
    input: Input,
    apart: Option<(Arc<str>, Json)>,
) -> Result<(Arc<Task>, Option<Refusal>), MasterError> {
    loop {
        let before = load(store, key).await?;
        let world = World { now: store.now(), seed: 1, fleet };
        let Decision { events, task } = match decide(&before, input.clone(), world) {
            Ok(decision) => decision,
            Err(refusal) => return Ok((before, Some(refusal))),
        };
        let task = Arc::new(task);
        let commit = Commit {
            id: CommitId::trusted(Uuid::now_v7().to_string()),
            key: key.clone(),
            expected: before.version,
            expected_at: before.updated_at,
            events: events.into(),
            effects: effects(Some(&before), &task).into(),
            task: task.clone(),
            slots: Vec::new(),
            payloads: apart.clone().into_iter().collect(),
            submission: None,
        };
        if store.commit(commit).await.map_err(internal)? == Committed::Applied {
            return Ok((task, None));
        }
    }
}

async fn load(store: &MemoryStore, key: &TaskKey) -> Result<Arc<Task>, MasterError> {
    let task = store.load(key).await.map_err(internal)?;
    task.ok_or_else(|| MasterError::NotFound(format!("there is no task {}", key.id).into()))
}

fn internal(error: impl std::fmt::Display) -> MasterError {
    MasterError::Internal(error.to_string().into())
}

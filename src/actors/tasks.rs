//! Named one-shot tasks under supervision: a running step, a server, anything that is a future and not an actor. A
//! panic is an outcome here, not a crash of whoever started the task, and no task is ever started over.

use super::status::{Birth, Bounds, Command, NodeState};
use super::supervise::{panic_text, spawn_here};
use super::tree::Node;
use foldhash::{HashMap, HashMapExt as _};
use std::fmt;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEnd<T> {
    /// It ran to its end.
    Finished(T),
    /// It panicked, with these words.
    Panicked(Arc<str>),
    /// It was stopped before its end.
    Aborted,
}

/// Awaits a task's outcome. Dropping it leaves the task running.
#[derive(Debug)]
pub struct TaskHandle<T> {
    outcome: oneshot::Receiver<TaskEnd<T>>,
    abort: AbortHandle,
}

/// Stops a task from outside.
#[derive(Debug, Clone)]
pub struct AbortHandle {
    node: Node,
}

/// Tasks that must not outlive their owner: dropped, it aborts and reports each that is still in it.
pub struct TaskSet<K> {
    running: HashMap<K, AbortHandle>,
    report: Box<dyn Fn(K)>,
}

/// How long one poll of a task may take before the watchdog calls it frozen.
const TURN_BUDGET: Duration = Duration::from_secs(1);

/// Runs a future on the present thread, shown in the tree under its parent until it ends.
pub fn spawn_task<F>(parent: &Node, name: impl Into<Arc<str>>, future: F) -> TaskHandle<F::Output>
where
    F: Future + 'static,
{
    let bounds = Bounds { work: 0, control: 0 };
    let birth = Birth { kind: "task", bounds, turn_budget: TURN_BUDGET, group: None };
    let node = parent.tree.add_task(&parent.status, name.into(), birth);
    node.status.set_state(NodeState::Running);
    let (sender, outcome) = oneshot::channel();
    let abort = AbortHandle { node: node.clone() };
    spawn_here(Task { node, future: Some(Box::pin(future)), outcome: Some(sender) });
    TaskHandle { outcome, abort }
}

// === impl TaskHandle ===

impl<T> TaskHandle<T> {
    /// Stops it, unless it has ended.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// A handle that stops it and does not await it.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl<T> Future for TaskHandle<T> {
    type Output = TaskEnd<T>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Self::Output> {
        // Without a word the task was dropped unrun, with its thread.
        Pin::new(&mut self.outcome).poll(task).map(|outcome| outcome.unwrap_or(TaskEnd::Aborted))
    }
}

impl AbortHandle {
    /// Stops the task, unless it has ended. What it holds is dropped on its own thread, soon.
    pub fn abort(&self) {
        self.node.stop();
    }
}

// === impl TaskSet ===

impl<K: Eq + Hash> TaskSet<K> {
    /// An empty set. `report` is told the key of each task that the set's end aborts.
    pub fn new(report: impl Fn(K) + 'static) -> Self {
        Self { running: HashMap::new(), report: Box::new(report) }
    }

    /// Takes a task in; whatever ran under the same key is given back.
    pub fn insert(&mut self, key: K, task: AbortHandle) -> Option<AbortHandle> {
        self.running.insert(key, task)
    }

    /// Lets go of a task, as when its outcome is known.
    pub fn remove(&mut self, key: &K) -> Option<AbortHandle> {
        self.running.remove(key)
    }

    /// Aborts one task and lets go of it, unreported; false when it is not here.
    pub fn abort(&mut self, key: &K) -> bool {
        let task = self.running.remove(key);
        task.as_ref().map(AbortHandle::abort);
        task.is_some()
    }

    /// Whose tasks are here.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.running.keys()
    }

    /// True when this key has a task here.
    pub fn contains(&self, key: &K) -> bool {
        self.running.contains_key(key)
    }

    /// How many are here.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// True when none is here.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

impl<K> Drop for TaskSet<K> {
    fn drop(&mut self) {
        // All are aborted before the first is reported: the report may run foreign code.
        for task in self.running.values() {
            task.abort();
        }
        for (key, task) in self.running.drain() {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| (self.report)(key))) {
                let reason = panic_text(&*payload);
                tracing::error!(actor.path = %task.node.path(), reason, "the report of an aborted task panicked");
            }
        }
    }
}

impl<K: fmt::Debug> fmt::Debug for TaskSet<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.running.keys()).finish()
    }
}

// === The running task ===

struct Task<F: Future> {
    node: Node,
    /// None once it has ended.
    future: Option<Pin<Box<F>>>,
    outcome: Option<oneshot::Sender<TaskEnd<F::Output>>>,
}

impl<F: Future> Task<F> {
    fn finish(&mut self, outcome: TaskEnd<F::Output>) {
        let status = &self.node.status;
        status.set_state(NodeState::Stopped);
        let future = self.future.take();
        // Dropped out of any unwinding, and caught: a second panic must not reach the thread's other tasks.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(future))) {
            let reason = panic_text(&*payload);
            tracing::error!(actor.path = %status.path(), reason, "the remains of a task panicked");
        }
        if let TaskEnd::Panicked(reason) = &outcome {
            tracing::error!(actor.path = %status.path(), reason = %reason, "a task panicked");
        }
        self.node.tree.stop_below(status);
        self.node.tree.remove(status);
        if let Some(sender) = self.outcome.take() {
            let _ = sender.send(outcome);
        }
        status.set_gone();
    }
}

impl<F: Future> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let status = Arc::clone(&this.node.status);
        status.listen(task.waker());
        // A restart of the group above is no business of a task's: it belongs to its owner.
        let ended = match status.take_command() {
            Command::Stop => Some(TaskEnd::Aborted),
            Command::Kill => Some(TaskEnd::Panicked("killed from outside".into())),
            Command::None | Command::Restart => None,
        };
        if let Some(ended) = ended {
            this.finish(ended);
            return Poll::Ready(());
        }
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        status.enter_turn();
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(task)));
        status.leave_turn();
        let outcome = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => TaskEnd::Finished(output),
            Err(payload) => TaskEnd::Panicked(panic_text(&*payload).into()),
        };
        this.finish(outcome);
        Poll::Ready(())
    }
}

impl<F: Future> Drop for Task<F> {
    /// Its thread ended before it did.
    fn drop(&mut self) {
        if self.future.is_some() {
            self.finish(TaskEnd::Aborted);
        }
    }
}

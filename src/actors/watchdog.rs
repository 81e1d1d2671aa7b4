//! A thread of its own that notices actors stuck in one turn, which no other actor on their thread could. It marks
//! and reports them, and never touches them: a stuck thread cannot be ended from outside, only its process can.

use super::status::{NodeState, NodeStatus};
use super::tree::Tree;
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How the watchdog looks.
#[derive(Debug, Clone, Copy)]
pub struct WatchdogOptions {
    /// Between two looks; a stuck turn is seen at most this much late.
    pub every: Duration,
    /// How long a turn may be stuck before the process should end; none: for ever.
    pub frozen_exit: Option<Duration>,
}

impl Default for WatchdogOptions {
    fn default() -> Self {
        Self { every: Duration::from_millis(250), frozen_exit: None }
    }
}

/// Why the process should end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenExit {
    /// Who is stuck.
    pub path: Arc<str>,
    /// In what: the message's name.
    pub doing: &'static str,
    /// For how long.
    pub age: Duration,
}

impl fmt::Display for FrozenExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has been stuck in one turn ({}) for {:?}", self.path, self.doing, self.age)
    }
}

/// Keeps the watchdog awake; its thread ends when this is dropped.
#[derive(Debug)]
pub struct Watchdog {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    /// Starts watching. `exit` is called at most once, on the watchdog's thread.
    pub fn start(
        tree: &Tree,
        options: WatchdogOptions,
        exit: impl FnOnce(FrozenExit) + Send + 'static,
    ) -> io::Result<Self> {
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (tree, signal) = (tree.clone(), Arc::clone(&ended));
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            let mut exit = Some(exit);
            let mut watch = Watch::default();
            while !waited_for_end(&signal, options.every) {
                let frozen = watch.look(&tree.nodes(), options.frozen_exit, Instant::now());
                if let Some(frozen) = frozen
                    && let Some(exit) = exit.take()
                {
                    tracing::error!(actor.path = %frozen.path, reason = %frozen, "an actor is frozen for good");
                    exit(frozen);
                }
            }
        })?;
        Ok(Self { ended, thread: Some(thread) })
    }
}

/// Waits that long, or until the guard is dropped; true in the latter case.
fn waited_for_end((ended, signal): &(Mutex<bool>, Condvar), every: Duration) -> bool {
    let mut ended = ended.lock();
    if !*ended {
        signal.wait_for(&mut ended, every);
    }
    *ended
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watchdog panicked");
        }
    }
}

/// What was seen of turns in progress: each node's turn, and when it was first seen in it.
#[derive(Debug, Default)]
struct Watch {
    turns: HashMap<u64, (u64, Instant)>,
}

impl Watch {
    /// Marks and unmarks; returns who is stuck beyond `frozen_exit`, the longest first.
    fn look(&mut self, nodes: &[Arc<NodeStatus>], frozen_exit: Option<Duration>, now: Instant) -> Option<FrozenExit> {
        let mut seen = HashMap::new();
        let mut worst: Option<FrozenExit> = None;
        for node in nodes {
            let turn = node.turn();
            let is_in_turn = turn % 2 == 1;
            let since = match self.turns.get(&node.id) {
                Some((before, since)) if *before == turn => *since,
                _ => now,
            };
            let age = now.duration_since(since);
            mark(node, is_in_turn && age >= node.turn_budget, age);
            if !is_in_turn {
                continue;
            }
            seen.insert(node.id, (turn, since));
            let is_worse = worst.as_ref().is_none_or(|worst| age > worst.age);
            if frozen_exit.is_some_and(|limit| age >= limit) && is_worse {
                worst = Some(FrozenExit { path: Arc::clone(node.path()), doing: node.doing(), age });
            }
        }
        self.turns = seen;
        worst
    }
}

fn mark(node: &NodeStatus, is_frozen: bool, age: Duration) {
    let was_frozen = node.shown_state() == NodeState::Frozen;
    node.set_frozen(is_frozen);
    match (was_frozen, is_frozen) {
        (false, true) => {
            let (doing, age_ms) = (node.doing(), age.as_millis() as u64);
            tracing::warn!(actor.path = %node.path(), doing, age_ms, "an actor is frozen");
        }
        (true, false) => tracing::info!(actor.path = %node.path(), "an actor moves again"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::{Birth, Bounds};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node() -> Arc<NodeStatus> {
        let bounds = Bounds { work: 1, control: 1 };
        let birth = Birth { kind: "test", bounds, turn_budget: SECOND, group: None };
        let node = Arc::new(NodeStatus::new("root/a".into(), None, birth));
        node.set_state(NodeState::Running);
        node
    }

    #[test]
    fn a_turn_is_frozen_from_its_budget_until_it_moves() {
        let (nodes, mut watch, start) = ([node()], Watch::default(), Instant::now());
        let states = |watch: &mut Watch, after| {
            assert_eq!(watch.look(&nodes, None, start + after), None);
            nodes[0].shown_state()
        };
        nodes[0].enter_turn();
        assert_eq!(states(&mut watch, Duration::ZERO), NodeState::Running);
        assert_eq!(states(&mut watch, SECOND), NodeState::Frozen);
        nodes[0].handles("next");
        assert_eq!(states(&mut watch, SECOND * 2), NodeState::Running, "many short messages are no long turn");
        assert_eq!(states(&mut watch, SECOND * 3), NodeState::Frozen);
        nodes[0].leave_turn();
        assert_eq!(states(&mut watch, SECOND * 4), NodeState::Running);
        assert_eq!(states(&mut watch, SECOND * 9), NodeState::Running, "idle is not stuck");
    }

    #[test]
    fn the_longest_stuck_names_the_reason_for_the_exit() {
        let (nodes, mut watch, start) = ([node(), node()], Watch::default(), Instant::now());
        nodes[0].enter_turn();
        assert_eq!(watch.look(&nodes, Some(SECOND * 3), start), None);
        nodes[1].enter_turn();
        nodes[0].handles("work");
        assert_eq!(watch.look(&nodes, Some(SECOND * 3), start + SECOND), None);
        nodes[1].handles("other");
        assert_eq!(watch.look(&nodes, Some(SECOND * 3), start + SECOND * 2), None);
        let frozen = watch.look(&nodes, Some(SECOND * 3), start + SECOND * 6);
        assert_eq!(frozen, Some(FrozenExit { path: "root/a".into(), doing: "work", age: SECOND * 5 }));
    }
}

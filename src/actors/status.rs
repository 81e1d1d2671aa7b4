//! What one node of the tree knows of itself, in atomics that its own thread writes and anybody reads. It never decides
//! anything: the supervisor does, the watchdog judges, the tree shows.

use super::restart::{Restarts, Window};
use crate::messages::Lane;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use utoipa::ToSchema;

/// How a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Not yet begun.
    Starting,
    /// At work, or waiting for some.
    Running,
    /// It crashed and waits for its next start; messages are kept.
    BackingOff,
    /// Ended for good.
    Stopped,
    /// Ended for good by crashing more often than it may.
    Escalated,
    /// Its present turn outlives its budget. Shown by the tree only; it is laid over `Running`.
    Frozen,
}

impl NodeState {
    const ALL: [Self; 6] =
        [Self::Starting, Self::Running, Self::BackingOff, Self::Stopped, Self::Escalated, Self::Frozen];

    /// True when nothing comes after it.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Stopped | Self::Escalated)
    }
}

/// What went wrong last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LastFailure {
    /// In words.
    pub text: Arc<str>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// What somebody else wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Command {
    /// Nothing.
    None = 0,
    /// Start afresh: its group does.
    Restart = 1,
    /// Crash: somebody wants to see it start over.
    Kill = 2,
    /// End. Nothing overrides it.
    Stop = 3,
}

/// Messages at once, per lane; one more is `Overloaded`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// In the work lane.
    pub work: u32,
    /// In the control lane.
    pub control: u32,
}

/// What a node is born with.
pub(super) struct Birth {
    pub(super) kind: &'static str,
    pub(super) bounds: Bounds,
    pub(super) turn_budget: Duration,
    pub(super) group: Option<Restarts>,
}

/// One node, shared by whoever runs it, sends to it or looks at it.
pub(super) struct NodeStatus {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    pub(super) kind: &'static str,
    pub(super) parent: Option<Arc<NodeStatus>>,
    /// What runs below it, by id. A subtree is stopped from the top down, one such lock at a time.
    pub(super) children: Mutex<BTreeMap<u64, Arc<NodeStatus>>>,
    /// The restarts that this node may order for its children; only groups have one.
    pub(super) group: Option<Mutex<Window>>,
    pub(super) turn_budget: Duration,
    pub(super) started_at_ms: AtomicU64,
    /// Put together when it is first asked for: of a step, hardly ever.
    path: OnceLock<Arc<str>>,
    state: AtomicU8,
    command: AtomicU8,
    gone: AtomicBool,
    frozen: AtomicBool,
    restarts: AtomicU32,
    handled: AtomicU64,
    turn: AtomicU64,
    doing: Mutex<&'static str>,
    last_failure: Mutex<Option<LastFailure>>,
    waker: AtomicWaker,
    ended: Notify,
    lanes: [LaneLoad; 2],
}

impl NodeStatus {
    pub(super) fn new(name: Arc<str>, parent: Option<Arc<Self>>, birth: Birth) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            id: IDS.fetch_add(1, Relaxed),
            name,
            kind: birth.kind,
            parent,
            children: Mutex::default(),
            group: birth.group.map(|limit| Mutex::new(Window::new(limit))),
            turn_budget: birth.turn_budget,
            started_at_ms: AtomicU64::new(wall_ms()),
            path: OnceLock::new(),
            state: AtomicU8::new(NodeState::Starting as u8),
            command: AtomicU8::new(Command::None as u8),
            gone: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            restarts: AtomicU32::new(0),
            handled: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            doing: Mutex::new(birth.kind),
            last_failure: Mutex::new(None),
            waker: AtomicWaker::new(),
            ended: Notify::new(),
            lanes: [LaneLoad::new(birth.bounds.work), LaneLoad::new(birth.bounds.control)],
        }
    }

    /// The names from the root, joined by `/`.
    pub(super) fn path(&self) -> &Arc<str> {
        self.path.get_or_init(|| match &self.parent {
            Some(parent) => format!("{}/{}", parent.path(), self.name).into(),
            None => Arc::clone(&self.name),
        })
    }

    // === State ===

    pub(super) fn state(&self) -> NodeState {
        let state = NodeState::ALL.get(usize::from(self.state.load(Acquire)));
        state.copied().unwrap_or(NodeState::Starting)
    }

    pub(super) fn set_state(&self, state: NodeState) {
        self.state.store(state as u8, Release);
    }

    /// The state with the watchdog's verdict laid over it.
    pub(super) fn shown_state(&self) -> NodeState {
        match self.state() {
            NodeState::Running if self.frozen.load(Relaxed) => NodeState::Frozen,
            state => state,
        }
    }

    pub(super) fn set_frozen(&self, frozen: bool) {
        self.frozen.store(frozen, Relaxed);
    }

    pub(super) fn restarts(&self) -> u32 {
        self.restarts.load(Relaxed)
    }

    pub(super) fn restarted(&self) {
        self.restarts.fetch_add(1, Relaxed);
    }

    pub(super) fn failed(&self, text: Arc<str>) {
        *self.last_failure.lock() = Some(LastFailure { text, at_ms: wall_ms() });
    }

    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure.lock().clone()
    }

    // === Commands and the end ===

    /// Leaves a command for the node's own thread.
    pub(super) fn command(&self, command: Command) {
        self.command.fetch_max(command as u8, AcqRel);
        self.waker.wake();
    }

    /// What was commanded; a stop stays, anything else is taken by this.
    pub(super) fn take_command(&self) -> Command {
        // Asked with every turn, and nearly always for nothing.
        if self.command.load(Acquire) == Command::None as u8 {
            return Command::None;
        }
        let keep_stop = |command| (command != Command::Stop as u8).then_some(Command::None as u8);
        match self.command.fetch_update(AcqRel, Acquire, keep_stop) {
            Ok(1) => Command::Restart,
            Ok(2) => Command::Kill,
            Ok(_) => Command::None,
            Err(_) => Command::Stop,
        }
    }

    pub(super) fn is_told_to_stop(&self) -> bool {
        self.command.load(Acquire) == Command::Stop as u8
    }

    /// Whom to wake for a command.
    pub(super) fn listen(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// Marks that nothing of the node is left, state and futures dropped.
    pub(super) fn set_gone(&self) {
        self.gone.store(true, Release);
        self.ended.notify_waiters();
    }

    /// Waits until nothing of the node is left.
    pub(super) async fn gone(&self) {
        loop {
            let notified = self.ended.notified();
            if self.gone.load(Acquire) {
                return;
            }
            notified.await;
        }
    }

    // === Turns: odd while the node's code runs; only its own thread writes, so plain stores do ===

    pub(super) fn enter_turn(&self) {
        self.turn.store(self.turn.load(Relaxed) | 1, Relaxed);
    }

    /// Something else begins within the turn, so the turn as a whole is not stuck.
    pub(super) fn begin(&self, what: &'static str) {
        *self.doing.lock() = what;
        self.turn.store(self.turn.load(Relaxed) + 2, Relaxed);
    }

    pub(super) fn leave_turn(&self) {
        self.turn.store((self.turn.load(Relaxed) | 1) + 1, Relaxed);
    }

    /// The number of the present turn; even between turns.
    pub(super) fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// What the node last began.
    pub(super) fn doing(&self) -> &'static str {
        *self.doing.lock()
    }

    // === Messages ===

    pub(super) fn handles(&self, name: &'static str) {
        self.handled.store(self.handled.load(Relaxed) + 1, Relaxed);
        self.begin(name);
    }

    pub(super) fn handled(&self) -> u64 {
        self.handled.load(Relaxed)
    }

    pub(super) fn lane(&self, lane: Lane) -> &LaneLoad {
        match lane {
            Lane::Work => &self.lanes[0],
            Lane::Control => &self.lanes[1],
        }
    }

    /// How long the oldest message in flight has been so.
    pub(super) fn oldest_in_flight_ms(&self) -> Option<u64> {
        let oldest = self.lanes.iter().filter_map(LaneLoad::oldest).min()?;
        Some(now_ms().saturating_sub(oldest))
    }
}

/// Places for the moments at which messages entered a lane, at most.
const MOMENTS: u32 = 256;
/// Places tried before a message goes without.
const TRIES: u32 = 4;

/// What is in flight in one lane: a bound, a count, and the moments of entry of (nearly) all of it.
pub(super) struct LaneLoad {
    bound: u32,
    in_flight: AtomicU32,
    /// Where to look first for a free moment.
    next: AtomicU32,
    /// 0 is a free place. Old messages keep theirs, so the oldest is found even when newer ones went without.
    moments: Box<[AtomicU64]>,
}

impl LaneLoad {
    fn new(bound: u32) -> Self {
        let moments = (0..bound.min(MOMENTS)).map(|_| AtomicU64::new(0)).collect();
        Self { bound, in_flight: AtomicU32::new(0), next: AtomicU32::new(0), moments }
    }

    /// Takes a place in the lane, and a moment if one is free; none when the lane is full.
    fn enter(&self) -> Option<Option<u32>> {
        if self.in_flight.fetch_add(1, Relaxed) >= self.bound {
            self.in_flight.fetch_sub(1, Relaxed);
            return None;
        }
        let count = self.moments.len() as u32;
        let (from, now) = (self.next.fetch_add(1, Relaxed), now_ms());
        let free = (0..TRIES.min(count)).map(|n| from.wrapping_add(n) % count).find(|at| {
            let moment = &self.moments[*at as usize];
            moment.load(Relaxed) == 0 && moment.compare_exchange(0, now, Relaxed, Relaxed).is_ok()
        });
        Some(free)
    }

    fn leave(&self, moment: Option<u32>) {
        if let Some(at) = moment {
            self.moments[at as usize].store(0, Relaxed);
        }
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    fn oldest(&self) -> Option<u64> {
        self.moments.iter().map(|moment| moment.load(Relaxed)).filter(|at| *at != 0).min()
    }
}

/// The right to be one message in flight with an addressee; given back when dropped.
pub(super) struct Permit {
    pub(super) node: Arc<NodeStatus>,
    lane: Lane,
    moment: Option<u32>,
}

impl Permit {
    /// One message in this lane of this node; none when the lane is full.
    pub(super) fn take(node: &Arc<NodeStatus>, lane: Lane) -> Option<Self> {
        let moment = node.lane(lane).enter()?;
        Some(Self { node: Arc::clone(node), lane, moment })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.node.lane(self.lane).leave(self.moment);
    }
}

/// Milliseconds on a clock that only goes forward, never 0. Every message reads it, and its ages are told in seconds, so the
/// coarse clock is right: it is some milliseconds behind and costs a fifth.
fn now_ms() -> u64 {
    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::MonotonicCoarse;
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000 + 1
}

/// Milliseconds since 1970.
pub(super) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(work: u32) -> Arc<NodeStatus> {
        let bounds = Bounds { work, control: 1 };
        let birth = Birth { kind: "test", bounds, turn_budget: Duration::from_secs(1), group: None };
        Arc::new(NodeStatus::new("a".into(), None, birth))
    }

    #[test]
    fn a_full_lane_refuses_and_the_other_does_not() {
        let node = node(2);
        let first = Permit::take(&node, Lane::Work);
        let second = Permit::take(&node, Lane::Work);
        assert!(first.is_some() && second.is_some());
        assert!(Permit::take(&node, Lane::Work).is_none());
        assert!(Permit::take(&node, Lane::Control).is_some());
        drop(first);
        assert!(Permit::take(&node, Lane::Work).is_some());
        assert_eq!(node.lane(Lane::Work).in_flight(), 1);
    }

    #[test]
    fn the_oldest_keeps_its_moment_among_many_newer_ones() {
        let node = node(10_000);
        let oldest = Permit::take(&node, Lane::Work);
        let since = node.lane(Lane::Work).oldest();
        let crowd: Vec<_> = (0..5_000).map(|_| Permit::take(&node, Lane::Work)).collect();
        assert!(since.is_some());
        assert_eq!(node.lane(Lane::Work).oldest(), since);
        drop(crowd);
        drop(oldest);
        assert_eq!(node.oldest_in_flight_ms(), None);
        assert_eq!(node.lane(Lane::Work).in_flight(), 0);
    }

    #[test]
    fn a_turn_is_odd_inside_and_moves_with_each_message() {
        let node = node(1);
        assert_eq!(node.turn() % 2, 0);
        node.enter_turn();
        let entered = node.turn();
        node.handles("work");
        assert_eq!((entered % 2, node.turn() % 2, node.doing()), (1, 1, "work"));
        assert_ne!(entered, node.turn());
        node.leave_turn();
        assert_eq!(node.turn() % 2, 0);
    }

    #[test]
    fn a_stop_is_not_overridden_by_a_restart() {
        let node = node(1);
        node.command(Command::Restart);
        node.command(Command::Stop);
        node.command(Command::Restart);
        assert_eq!(node.take_command(), Command::Stop);
        assert_eq!(node.take_command(), Command::Stop);
    }
}

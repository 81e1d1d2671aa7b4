//! The living tree: every group, actor and running step under its path, readable while it runs. It never starts or ends
//! anything by itself; it passes stops, restarts and failures along the branches.

use super::restart::Restarts;
use super::status::{Birth, Bounds, Command, LastFailure, NodeState, NodeStatus};
use crate::messages::Lane;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::ToSchema;

/// Why a child, and at last the process, could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildDown {
    /// Whose failure it was.
    pub path: Arc<str>,
    /// What it said.
    pub reason: Arc<str>,
    /// How often it had been restarted.
    pub restarts: u32,
}

impl fmt::Display for ChildDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed for good after {} restarts: {}", self.path, self.restarts, self.reason)
    }
}

/// One node as shown to people, its children below it in order of name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Node)]
pub struct NodeView {
    /// Its name among its siblings.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// How it stands.
    pub state: NodeState,
    /// How often it started over.
    pub restarts: u32,
    /// When it last started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// Messages handled.
    pub handled: u64,
    /// Messages sent and not yet answered.
    pub in_flight: InFlight,
    /// How long the oldest of them has been so.
    #[schema(required)]
    pub oldest_in_flight_ms: Option<u64>,
    /// What went wrong last.
    #[schema(required)]
    pub last_failure: Option<LastFailure>,
    /// What runs below it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(no_recursion, required = false)]
    pub children: Vec<NodeView>,
}

/// Messages in flight, per lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct InFlight {
    /// In the work lane.
    pub work: u32,
    /// In the control lane.
    pub control: u32,
}

/// Awaits the failure that no supervisor could take: the process should drain and exit non-zero.
#[derive(Debug, Clone)]
pub struct Root {
    failed: watch::Receiver<Option<ChildDown>>,
}

/// The tree; clones share it.
#[derive(Clone)]
pub struct Tree {
    inner: Arc<Inner>,
}

struct Inner {
    root: Arc<NodeStatus>,
    failed: watch::Sender<Option<ChildDown>>,
}

/// A place in the tree, under which something can be started.
#[derive(Clone)]
pub struct Node {
    pub(super) tree: Tree,
    pub(super) status: Arc<NodeStatus>,
}

/// What the supervisors above a child decided about its failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It starts afresh, its own window cleared.
    StartAfresh,
    /// Nobody may restart it any more.
    GiveUp,
}

// === impl Root ===

impl Root {
    /// Waits for the failure; for ever when there is none. It can be asked again, and dropped half-way.
    pub async fn failed(&mut self) -> ChildDown {
        if let Ok(down) = self.failed.wait_for(Option::is_some).await
            && let Some(down) = down.clone()
        {
            return down;
        }
        std::future::pending().await
    }
}

// === impl Tree ===

impl Tree {
    /// A tree with a root only; `limit` is how many restarts the root may order before the process fails.
    pub fn new(limit: Restarts) -> (Self, Root) {
        let birth = Birth { group: Some(limit), ..Birth::group() };
        let root = Arc::new(NodeStatus::new("root".into(), None, birth));
        root.set_state(NodeState::Running);
        let (failed, receiver) = watch::channel(None);
        (Self { inner: Arc::new(Inner { root, failed }) }, Root { failed: receiver })
    }

    /// The root, under which everything is started.
    pub fn root(&self) -> Node {
        Node { tree: self.clone(), status: Arc::clone(&self.inner.root) }
    }

    /// What is there now, from the root.
    pub fn snapshot(&self) -> NodeView {
        view(&self.inner.root)
    }

    /// Makes the actor at a path, such as `root/master`, crash as soon as its present turn is over: its supervisor does
    /// what it does after a panic. A running step ends at once. False when nothing lives there, or a group does.
    pub fn kill(&self, path: &str) -> bool {
        let is_victim =
            |node: &Arc<NodeStatus>| node.group.is_none() && !node.state().is_final() && **node.path() == *path;
        let victim = self.nodes().into_iter().find(is_victim);
        victim.as_ref().map(|node| node.command(Command::Kill)).is_some()
    }

    /// Every node, each before what is below it.
    pub(super) fn nodes(&self) -> Vec<Arc<NodeStatus>> {
        let mut nodes = vec![Arc::clone(&self.inner.root)];
        nodes.extend(below(&self.inner.root));
        nodes
    }

    /// Adds a group or an actor. Its name gets a number behind it when a living sibling has it, and `/` in it becomes
    /// `.`.
    pub(super) fn add(&self, parent: &Arc<NodeStatus>, name: &str, birth: Birth) -> Node {
        let name = name.replace('/', ".");
        self.add_named(parent, birth, |siblings| {
            let name = free_name(siblings, name);
            // One that ended makes room for its successor.
            siblings.retain(|_, node| node.name != name);
            name
        })
    }

    /// Adds a task. There are many and they are short, so nobody makes sure that its siblings have other names.
    pub(super) fn add_task(&self, parent: &Arc<NodeStatus>, name: Arc<str>, birth: Birth) -> Node {
        let name = if name.contains('/') { name.replace('/', ".").into() } else { name };
        self.add_named(parent, birth, |_| name)
    }

    fn add_named(
        &self,
        parent: &Arc<NodeStatus>,
        birth: Birth,
        name: impl FnOnce(&mut BTreeMap<u64, Arc<NodeStatus>>) -> Arc<str>,
    ) -> Node {
        let mut siblings = parent.children.lock();
        let name = name(&mut siblings);
        let status = Arc::new(NodeStatus::new(name, Some(Arc::clone(parent)), birth));
        siblings.insert(status.id, Arc::clone(&status));
        // Under the lock that `below` takes too: a child born meanwhile is stopped by one or the other.
        if parent.is_told_to_stop() || parent.state().is_final() {
            status.command(Command::Stop);
        }
        Node { tree: self.clone(), status }
    }

    /// Takes a node out that ended and is of no further interest.
    pub(super) fn remove(&self, status: &NodeStatus) {
        if let Some(parent) = &status.parent {
            parent.children.lock().remove(&status.id);
        }
    }

    /// Tells all below this node to stop, and the node itself too if asked; returns whom it told.
    fn stop_from(&self, status: &Arc<NodeStatus>, itself: bool) -> Vec<Arc<NodeStatus>> {
        if itself {
            stop(status);
        }
        let mut told = Vec::new();
        stop_children(status, &mut told);
        told
    }

    /// Tells all below an ended node to stop.
    pub(super) fn stop_below(&self, status: &Arc<NodeStatus>) {
        self.stop_from(status, false);
    }

    /// Passes a child's failure up: the first group whose window permits starts it afresh, together with all else below
    /// the groups that could not. With none left the process fails.
    pub(super) fn escalate(&self, child: &NodeStatus, reason: &Arc<str>, now: Instant) -> Verdict {
        let mut failed_group: Option<Arc<NodeStatus>> = None;
        let mut next = child.parent.clone();
        while let Some(node) = next {
            next = node.parent.clone();
            let Some(group) = &node.group else { continue };
            let taken = group.lock().take(now);
            if taken.is_some() {
                if let Some(failed) = failed_group {
                    self.start_group_afresh(&failed);
                }
                return Verdict::StartAfresh;
            }
            node.failed(format!("{}: {reason}", child.path()).into());
            tracing::error!(actor.path = %node.path(), child = %child.path(), "a group cannot restart its children any more");
            failed_group = Some(node);
        }
        let down = ChildDown { path: Arc::clone(child.path()), reason: Arc::clone(reason), restarts: child.restarts() };
        tracing::error!(actor.path = %down.path, reason = %down.reason, "the process cannot go on");
        self.inner.failed.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(down);
            is_first
        });
        Verdict::GiveUp
    }

    /// Restarts what lives below a failed group, and clears the windows in it. Whatever ended for good stays ended.
    fn start_group_afresh(&self, group: &Arc<NodeStatus>) {
        group.restarted();
        let below = below(group);
        for node in below.iter().chain([group]) {
            match &node.group {
                Some(window) => window.lock().clear(),
                None => node.command(Command::Restart),
            }
        }
    }
}

impl Birth {
    /// Of a group: nobody sends to it and it takes no turns.
    fn group() -> Self {
        Self {
            kind: "group",
            bounds: Bounds { work: 0, control: 0 },
            turn_budget: Duration::MAX,
            group: Some(Restarts::NONE),
        }
    }
}

// === impl Node ===

impl Node {
    /// Where it is: the names from the root, joined by `/`.
    pub fn path(&self) -> &Arc<str> {
        self.status.path()
    }

    /// How it stands.
    pub fn state(&self) -> NodeState {
        self.status.shown_state()
    }

    /// A supervisor for children of its own: it restarts one whose own window is used up, `limit` permitting, and else
    /// passes the failure on.
    pub fn group(&self, name: &str, limit: Restarts) -> Self {
        let group = self.tree.add(&self.status, name, Birth { group: Some(limit), ..Birth::group() });
        group.status.set_state(NodeState::Running);
        group
    }

    /// Stops it and all below it, all at once and for good. Returns before they have ended.
    pub fn stop(&self) {
        self.tree.stop_from(&self.status, true);
    }

    /// Stops it and all below it, and waits until nothing of them is left. Not for an actor's own turn.
    pub async fn stopped(&self) {
        let below = self.tree.stop_from(&self.status, true);
        for node in below.iter().chain([&self.status]) {
            node.gone().await;
        }
    }

    /// Stops it, waits until nothing of it is left, and takes it out of the tree: it will not be missed.
    pub async fn retired(&self) {
        self.stopped().await;
        self.tree.remove(&self.status);
    }

    /// Waits until it has ended, whatever the reason.
    pub async fn ended(&self) {
        self.status.gone().await;
    }

    /// The tree it is in.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("path", self.path()).field("state", &self.state()).finish()
    }
}

// === Names and branches ===

/// The name itself, or with the first number behind it that no living sibling has.
fn free_name(siblings: &BTreeMap<u64, Arc<NodeStatus>>, name: String) -> Arc<str> {
    let is_free = |name: &str| siblings.values().all(|node| *node.name != *name || node.state().is_final());
    if is_free(&name) {
        return name.into();
    }
    let numbered = (2_u64..).map(|number| format!("{name}~{number}")).find(|name| is_free(name));
    numbered.unwrap_or(name).into()
}

/// All that lies below a node, each before what is below it.
fn below(node: &NodeStatus) -> Vec<Arc<NodeStatus>> {
    let mut found: Vec<_> = node.children.lock().values().cloned().collect();
    let mut next = 0;
    while let Some(node) = found.get(next).cloned() {
        found.extend(node.children.lock().values().cloned());
        next += 1;
    }
    found
}

fn stop(node: &NodeStatus) {
    node.command(Command::Stop);
    // Nobody runs a group, so it is over at once.
    if node.group.is_some() {
        node.set_state(NodeState::Stopped);
        node.set_gone();
    }
}

/// Stops all below a node from the top down, so that whoever is born on the way finds its parent told.
fn stop_children(node: &NodeStatus, told: &mut Vec<Arc<NodeStatus>>) {
    let first = told.len();
    {
        let children = node.children.lock();
        children.values().for_each(|child| stop(child));
        told.extend(children.values().cloned());
    }
    for at in first..told.len() {
        let child = Arc::clone(&told[at]);
        stop_children(&child, told);
    }
}

fn view(node: &NodeStatus) -> NodeView {
    let mut children: Vec<_> = node.children.lock().values().cloned().collect();
    children.sort_by(|one, other| one.name.cmp(&other.name));
    NodeView {
        name: node.name.to_string(),
        kind: node.kind,
        state: node.shown_state(),
        restarts: node.restarts(),
        started_at_ms: node.started_at_ms.load(std::sync::atomic::Ordering::Relaxed),
        handled: node.handled(),
        in_flight: InFlight { work: node.lane(Lane::Work).in_flight(), control: node.lane(Lane::Control).in_flight() },
        oldest_in_flight_ms: node.oldest_in_flight_ms(),
        last_failure: node.last_failure(),
        children: children.iter().map(|child| view(child)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_nested_and_sorted_also_where_names_begin_alike() {
        let (tree, _root) = Tree::new(Restarts::NONE);
        let agents = tree.root().group("agents", Restarts::NONE);
        for (parent, name) in [(&tree.root(), "agents-old"), (&agents, "b"), (&agents, "a"), (&agents, "a/b")] {
            parent.group(name, Restarts::NONE);
        }
        fn lines(view: &NodeView, depth: usize, into: &mut Vec<String>) {
            into.push(format!("{}{}", " ".repeat(depth), view.name));
            view.children.iter().for_each(|child| lines(child, depth + 1, into));
        }
        let mut shown = Vec::new();
        lines(&tree.snapshot(), 0, &mut shown);
        assert_eq!(shown, ["root", " agents", "  a", "  a.b", "  b", " agents-old"]);
    }

    #[test]
    fn a_name_is_free_again_when_its_bearer_has_ended() {
        let (tree, _root) = Tree::new(Restarts::NONE);
        let names = [(); 3].map(|()| tree.root().group("a", Restarts::NONE));
        assert_eq!(names.each_ref().map(|node| node.path().to_string()), ["root/a", "root/a~2", "root/a~3"]);
        names[1].stop();
        assert_eq!(&**tree.root().group("a", Restarts::NONE).path(), "root/a~2");
    }

    #[test]
    fn a_view_has_the_same_shape_for_every_node() {
        let (tree, _root) = Tree::new(Restarts::NONE);
        let group = tree.root().group("agents", Restarts::NONE);
        group.status.failed("no words".into());
        let mut view = serde_json::to_value(&tree.snapshot().children).unwrap();
        for time in ["/0/started_at_ms", "/0/last_failure/at_ms"] {
            *view.pointer_mut(time).unwrap() = 0.into();
        }
        let expected = serde_json::json!([{
            "name": "agents", "kind": "group", "state": "running", "restarts": 0, "started_at_ms": 0, "handled": 0,
            "in_flight": { "work": 0, "control": 0 }, "oldest_in_flight_ms": null,
            "last_failure": { "text": "no words", "at_ms": 0 },
        }]);
        assert_eq!(view, expected);
    }
}

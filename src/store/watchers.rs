//! Who waits for a task's next events, or for other agents. Wake-ups live only in this process; whoever misses one reads
//! from its own cursor.

use super::Woken;
use crate::task::TaskKey;
use foldhash::{HashMap, HashMapExt as _};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How many watchers are kept before the first look for those that nobody listens to.
const SWEEP_AT: usize = 1024;

/// One channel per watched task, and one for the agents.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    room: Mutex<Room>,
    agents: watch::Sender<()>,
}

#[derive(Debug)]
struct Room {
    tasks: HashMap<TaskKey, watch::Sender<Woken>>,
    sweep_at: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { tasks: HashMap::new(), sweep_at: SWEEP_AT }
    }
}

impl Watchers {
    /// Listens to a task, which stands at this version as far as is known.
    pub fn listen(&self, key: &TaskKey, version: u64) -> watch::Receiver<Woken> {
        let mut room = self.room.lock();
        if let Some(sender) = room.tasks.get(key) {
            return sender.subscribe();
        }
        if room.tasks.len() >= room.sweep_at {
            room.tasks.retain(|_, sender| sender.receiver_count() > 0);
            // Twice what is left, so that sweeping costs each newcomer a constant.
            room.sweep_at = SWEEP_AT.max(room.tasks.len() * 2);
        }
        // Its state is read anyway.
        let (sender, receiver) = watch::channel(Woken { version, may_have_ended: true });
        room.tasks.insert(key.clone(), sender);
        receiver
    }

    /// Wakes whoever listens to a task; when that is nobody, the channel goes.
    pub fn wake(&self, key: &TaskKey, woken: Woken) {
        let mut room = self.room.lock();
        let Some(sender) = room.tasks.get(key) else { return };
        if sender.send(woken).is_err() {
            room.tasks.remove(key);
        }
    }

    /// Likewise, where whoever listens has not heard of that version yet.
    pub fn wake_to(&self, key: &TaskKey, woken: Woken) {
        let mut room = self.room.lock();
        let Some(sender) = room.tasks.get(key) else { return };
        if sender.receiver_count() == 0 {
            room.tasks.remove(key);
            return;
        }
        sender.send_if_modified(|latest| {
            let is_new = woken.version > latest.version;
            if is_new {
                *latest = woken;
            }
            is_new
        });
    }

    /// Listens to who the agents are.
    pub fn listen_to_agents(&self) -> watch::Receiver<()> {
        self.agents.subscribe()
    }

    /// Wakes whoever listens to who the agents are.
    pub fn wake_for_agents(&self) {
        self.agents.send_replace(());
    }

    /// Wakes everybody: something may have been missed. What each task is at is not known any more, as it may have become
    /// less.
    pub fn wake_all(&self) {
        self.wake_for_agents();
        let mut room = self.room.lock();
        room.tasks.retain(|_, sender| sender.receiver_count() > 0);
        for sender in room.tasks.values() {
            sender.send_modify(|latest| *latest = Woken { version: 0, may_have_ended: true });
        }
    }

    /// Tells whoever listens to a task that it is gone: their channel closes.
    pub fn close(&self, key: &TaskKey) {
        self.room.lock().tasks.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{TaskId, Tenant};

    fn at(version: u64) -> Woken {
        Woken { version, may_have_ended: false }
    }

    fn key(name: &str) -> TaskKey {
        TaskKey { tenant: Tenant::default(), id: TaskId::trusted(name) }
    }

    #[test]
    fn channels_without_listeners_go() {
        let watchers = Watchers::default();
        drop(watchers.listen(&key("gone"), 1));
        watchers.wake(&key("gone"), at(2));
        assert_eq!(watchers.room.lock().tasks.len(), 0);
        let kept = watchers.listen(&key("kept"), 1);
        for n in 0..10 * SWEEP_AT {
            drop(watchers.listen(&key(&format!("t{n}")), 1));
        }
        assert!(watchers.room.lock().tasks.len() <= SWEEP_AT + 1);
        watchers.wake(&key("kept"), at(7));
        assert_eq!(*kept.borrow(), at(7));
    }

    #[test]
    fn what_is_heard_of_twice_wakes_once_and_what_was_missed_wakes_all() {
        let watchers = Watchers::default();
        let (mut one, mut two) = (watchers.listen(&key("one"), 0), watchers.listen(&key("two"), 0));
        watchers.wake_to(&key("one"), at(3));
        assert!(one.has_changed().unwrap() && !two.has_changed().unwrap());
        assert_eq!(*one.borrow_and_update(), at(3));
        watchers.wake_to(&key("one"), at(3));
        watchers.wake_to(&key("one"), at(2));
        assert_eq!((one.has_changed().unwrap(), *one.borrow()), (false, at(3)));
        watchers.wake_all();
        assert!(one.has_changed().unwrap() && two.has_changed().unwrap());
        one.borrow_and_update();
        two.borrow_and_update();
        watchers.wake_to(&key("one"), at(1));
        assert!(one.has_changed().unwrap() && !two.has_changed().unwrap());
        drop(one);
        watchers.wake_to(&key("one"), at(9));
        assert_eq!(watchers.room.lock().tasks.len(), 1);
    }
}

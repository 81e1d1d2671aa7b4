//! A disk that forgets. What was synced is on it; of what was only written any part may be, in any order, torn at the
//! sectors of a disk or at the pages of memory, and so may be the names of files.

use crate::trace::{Call, Step};
use std::collections::{BTreeMap, HashMap};

/// The pieces in which a write reaches a disk.
const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// What a power loss leaves of what was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    Nothing,
    All,
    /// All that came before some moment.
    Beginning,
    /// Whatever it happens to be.
    Any,
}

/// A file's contents, whatever its name.
#[derive(Default)]
struct Content {
    synced: Vec<u8>,
    /// What came since, in its order, each with its call's number.
    loose: Vec<(usize, Change)>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Resize(usize),
    Reserve(usize),
}

/// What happens to names: one stands for a content from now on, or for none.
struct Naming {
    name: String,
    content: Option<usize>,
}

#[derive(Default)]
pub struct Disk {
    contents: Vec<Content>,
    /// What the programs see.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    loose_names: Vec<(usize, Naming)>,
    /// Syncs that have begun: which content, and how much had been written by then.
    syncs: HashMap<usize, (Option<usize>, usize)>,
    /// Calls that have returned: a sync covers those that had when it began.
    returned: usize,
}

pub type Files = BTreeMap<String, Vec<u8>>;

impl Disk {
    /// Something happens, of the calls that these are.
    pub fn step(&mut self, step: Step, calls: &[Call]) {
        match step {
            Step::Begun(number) => self.begin(number, &calls[number]),
            Step::Done(number) => {
                self.returned += 1;
                self.done(number, &calls[number]);
            }
        }
    }

    fn begin(&mut self, number: usize, call: &Call) {
        let content = match call {
            Call::Sync { name } => Some(self.content(name)),
            Call::SyncFolder => None,
            _ => return,
        };
        self.syncs.insert(number, (content, self.returned));
    }

    fn done(&mut self, number: usize, call: &Call) {
        match call {
            Call::Make { name } => {
                if !self.names.contains_key(name) {
                    self.contents.push(Content::default());
                    self.names.insert(name.clone(), self.contents.len() - 1);
                    self.loose_names.push((self.returned, naming(name, Some(self.contents.len() - 1))));
                }
            }
            Call::Write { name, at, bytes } => self.change(name, Change::Write { at: size(*at), bytes: bytes.clone() }),
            Call::Resize { name, len } => self.change(name, Change::Resize(size(*len))),
            Call::Reserve { name, len } => self.change(name, Change::Reserve(size(*len))),
            Call::Unlink { name } => {
                self.names.remove(name).unwrap_or_else(|| panic!("there is no {name} to unlink"));
                self.loose_names.push((self.returned, naming(name, None)));
            }
            Call::Sync { .. } | Call::SyncFolder => match self.syncs.remove(&number) {
                Some((Some(content), until)) => self.contents[content].sync(until),
                Some((None, until)) => self.sync_names(until),
                None => panic!("a sync ended that had not begun"),
            },
            Call::Say(_) => {}
        }
    }

    fn content(&self, name: &str) -> usize {
        *self.names.get(name).unwrap_or_else(|| panic!("{name} is worked on and was never made"))
    }

    fn change(&mut self, name: &str, change: Change) {
        let content = self.content(name);
        self.contents[content].loose.push((self.returned, change));
    }

    fn sync_names(&mut self, until: usize) {
        let count = self.loose_names.partition_point(|(returned, _)| *returned <= until);
        for (_, naming) in self.loose_names.drain(..count) {
            apply_name(&mut self.synced_names, &naming);
        }
    }

    /// What the programs see: all of it.
    pub fn files(&self) -> Files {
        self.names.iter().map(|(name, content)| (name.clone(), self.contents[*content].whole())).collect()
    }

    /// How much is written and not synced.
    pub fn loose(&self) -> usize {
        self.names.values().map(|content| self.contents[*content].loose.len()).sum::<usize>() + self.loose_names.len()
    }

    /// The power goes off: what is found afterwards.
    pub fn cut(&self, luck: Luck, random: &mut fastrand::Rng) -> Files {
        let mut dice = Dice::throw(luck, random);
        let mut names = self.synced_names.clone();
        let moment = dice.moment(self.loose_names.iter().map(|(returned, _)| *returned));
        for (returned, naming) in &self.loose_names {
            if dice.keeps(*returned, moment) {
                apply_name(&mut names, naming);
            }
        }
        names.into_iter().map(|(name, content)| (name, self.contents[content].cut(&mut dice))).collect()
    }
}

fn naming(name: &str, content: Option<usize>) -> Naming {
    Naming { name: name.to_owned(), content }
}

fn apply_name(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming.content {
        Some(content) => _ = names.insert(naming.name.clone(), content),
        None => _ = names.remove(&naming.name),
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

// === impl Content ===

impl Content {
    fn sync(&mut self, until: usize) {
        let count = self.loose.partition_point(|(returned, _)| *returned <= until);
        for (_, change) in self.loose.drain(..count) {
            change.apply(&mut self.synced);
        }
    }

    fn whole(&self) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        self.loose.iter().for_each(|(_, change)| change.apply(&mut bytes));
        bytes
    }

    fn cut(&self, dice: &mut Dice<'_>) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let moment = dice.moment(self.loose.iter().map(|(returned, _)| *returned));
        for (returned, change) in &self.loose {
            if dice.tears() {
                change.apply_torn(&mut bytes, dice);
            } else if dice.keeps(*returned, moment) {
                change.apply(&mut bytes);
            }
        }
        bytes
    }
}

impl Change {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                reserve(file, at + bytes.len());
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Resize(len) => file.resize(*len, 0),
            Self::Reserve(len) => reserve(file, *len),
        }
    }

    /// Some pieces of a write are there and some are not; where the file grew, it may have grown all the same.
    fn apply_torn(&self, file: &mut Vec<u8>, dice: &mut Dice<'_>) {
        let Self::Write { at, bytes } = self else { return self.apply(file) };
        let end = at + bytes.len();
        if dice.random.bool() {
            reserve(file, end);
        }
        let share = dice.random.choice([0, 20, 50, 80]).unwrap();
        let mut from = *at;
        while from < end {
            let to = end.min((from / dice.piece + 1) * dice.piece);
            if dice.random.u8(0..100) < share {
                reserve(file, to);
                file[from..to].copy_from_slice(&bytes[from - at..to - at]);
            }
            from = to;
        }
    }
}

fn reserve(file: &mut Vec<u8>, len: usize) {
    if file.len() < len {
        file.resize(len, 0);
    }
}

// === Dice ===

/// What decides over each change.
struct Dice<'a> {
    luck: Luck,
    random: &'a mut fastrand::Rng,
    /// How likely a change is there, and how likely it is torn, of a hundred.
    kept: u8,
    torn: u8,
    piece: usize,
}

impl<'a> Dice<'a> {
    fn throw(luck: Luck, random: &'a mut fastrand::Rng) -> Self {
        let kept = random.choice([3, 20, 50, 80, 97]).unwrap();
        let torn = random.choice([0, 5, 30]).unwrap();
        let piece = random.choice([SECTOR, PAGE]).unwrap();
        Self { luck, random, kept, torn, piece }
    }

    /// The moment up to which all is there; for one file at a time, for no disk keeps an order between files.
    fn moment(&mut self, mut changes: impl Iterator<Item = usize>) -> usize {
        let Some(first) = changes.next() else { return 0 };
        let last = changes.last().unwrap_or(first);
        self.random.usize(first..=last + 1)
    }

    fn tears(&mut self) -> bool {
        self.luck == Luck::Any && self.random.u8(0..100) < self.torn
    }

    fn keeps(&mut self, change: usize, moment: usize) -> bool {
        match self.luck {
            Luck::Nothing => false,
            Luck::All => true,
            Luck::Beginning => change < moment,
            Luck::Any => self.random.u8(0..100) < self.kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(at: u64, bytes: &[u8]) -> Call {
        Call::Write { name: "a".into(), at, bytes: bytes.into() }
    }

    /// Plays calls one after the other, but for the last one, which only begins; with some calls begun before others.
    fn played(steps: &[Step], calls: &[Call]) -> Disk {
        let mut disk = Disk::default();
        steps.iter().for_each(|step| disk.step(*step, calls));
        disk
    }

    fn one_after_the_other(calls: &[Call]) -> Disk {
        let steps: Vec<_> = (0..calls.len()).flat_map(|n| [Step::Begun(n), Step::Done(n)]).collect();
        played(&steps, calls)
    }

    #[test]
    fn what_is_not_synced_may_be_gone_and_its_name_too() {
        let mut random = fastrand::Rng::with_seed(1);
        let make = Call::Make { name: "a".into() };
        let sync = Call::Sync { name: "a".into() };
        let mut calls = vec![make, write(0, b"one"), sync, write(3, b"two")];
        let disk = one_after_the_other(&calls);
        assert_eq!(disk.files()["a"], b"onetwo");
        assert!(disk.cut(Luck::Nothing, &mut random).is_empty());
        calls.push(Call::SyncFolder);
        let disk = one_after_the_other(&calls);
        assert_eq!(disk.cut(Luck::Nothing, &mut random)["a"], b"one");
        assert_eq!(disk.cut(Luck::All, &mut random)["a"], b"onetwo");
        calls.push(Call::Unlink { name: "a".into() });
        let disk = one_after_the_other(&calls);
        assert_eq!(disk.cut(Luck::Nothing, &mut random)["a"], b"one");
        assert!(disk.cut(Luck::All, &mut random).is_empty());
    }

    #[test]
    fn a_sync_covers_what_had_returned_when_it_began() {
        let mut random = fastrand::Rng::with_seed(1);
        let (make, sync) = (Call::Make { name: "a".into() }, Call::Sync { name: "a".into() });
        let calls = [make, Call::SyncFolder, write(0, b"one"), sync, write(3, b"two")];
        let before = [0, 1, 2].into_iter().flat_map(|n| [Step::Begun(n), Step::Done(n)]);
        let beside = [Step::Begun(3), Step::Begun(4), Step::Done(4)];
        let steps: Vec<_> = before.chain(beside).collect();
        assert!(played(&steps, &calls).cut(Luck::Nothing, &mut random)["a"].is_empty());
        let steps: Vec<_> = steps.into_iter().chain([Step::Done(3)]).collect();
        assert_eq!(played(&steps, &calls).cut(Luck::Nothing, &mut random)["a"], b"one");
    }

    #[test]
    fn any_luck_tears_and_reorders() {
        let mut random = fastrand::Rng::with_seed(1);
        let calls = [Call::Make { name: "a".into() }, Call::SyncFolder, write(0, &[1; 2 * PAGE]), write(8192, &[2; 9])];
        let disk = one_after_the_other(&calls);
        let found: Vec<_> = (0..1000).map(|_| disk.cut(Luck::Any, &mut random)["a"].clone()).collect();
        let has = |file: &[u8], at: usize, byte: u8| file.get(at) == Some(&byte);
        assert!(found.iter().any(|file| has(file, 8192, 2) && has(file, 0, 0)), "the later without the earlier");
        assert!(found.iter().any(|file| has(file, 0, 1) && has(file, SECTOR, 0)), "torn at a sector");
        assert!(found.iter().any(|file| file.len() == 2 * PAGE && file.iter().all(|byte| *byte == 0)), "only longer");
        assert!(found.iter().any(Vec::is_empty), "nothing");
    }
}

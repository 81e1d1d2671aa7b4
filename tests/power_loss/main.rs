//! The power goes off at any moment: what a company over a SQLite file did is recorded, and its disk is put back as a loss
//! of power could have left it, at many moments and in many ways. `CALLBOARD_CUTS` sets how many (300 when unset).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod check;
mod disk;
mod recording;
mod trace;

use callboard::store::Durability;
use check::{Check, Told};
use disk::{Disk, Luck};
use recording::{Recording, record};
use std::path::Path;
use trace::{Call, Step, Trace};

/// One in so many stores that are opened again is worked on until all its tasks have ended.
const RUNS_ON: usize = 25;

fn cuts() -> usize {
    std::env::var("CALLBOARD_CUTS").ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(300)
}

/// The power goes off after so many steps.
#[derive(Debug, Clone, Copy)]
struct Cut {
    after: usize,
    luck: Luck,
    seed: u64,
}

/// Where it goes off: a third of the cuts as soon as somebody was told something, a third around syncs, and the rest
/// anywhere.
fn plan(trace: &Trace, count: usize, random: &mut fastrand::Rng) -> Vec<Cut> {
    let (mut told, mut synced) = (Vec::new(), Vec::new());
    for (position, step) in trace.steps.iter().enumerate() {
        match (step, &trace.calls[number(*step)]) {
            (Step::Begun(_), Call::Say(_)) => told.push(position + 1),
            // Just before it has begun, and just after it has returned.
            (Step::Begun(_), Call::Sync { .. } | Call::SyncFolder) => synced.push(position),
            (Step::Done(_), Call::Sync { .. } | Call::SyncFolder) => synced.push(position + 1),
            _ => {}
        }
    }
    let anywhere: Vec<_> = (0..=trace.steps.len()).collect();
    let lucks = [Luck::Nothing, Luck::Any, Luck::Beginning, Luck::Any, Luck::All, Luck::Any, Luck::Nothing, Luck::Any];
    let mut cuts: Vec<_> = (0..count)
        .map(|nth| {
            let places = [&told, &synced, &anywhere][nth % 3];
            let luck = lucks[nth / 3 % lucks.len()];
            Cut { after: *random.choice(places).unwrap(), luck, seed: random.u64(..) }
        })
        .collect();
    cuts.sort_by_key(|cut| cut.after);
    cuts
}

fn number(step: Step) -> usize {
    let (Step::Begun(number) | Step::Done(number)) = step;
    number
}

/// The model has all that is in the folder: nothing was written past the tracer.
fn is_complete(trace: &Trace, folder: &Path) {
    let mut disk = Disk::default();
    trace.steps.iter().for_each(|step| disk.step(*step, &trace.calls));
    let files = disk.files();
    assert!(files.contains_key("callboard.db"), "the tracer saw no database");
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != trace::SAID && trace::is_kept(&name) {
            let same = files.get(&name) == Some(&std::fs::read(entry.path()).unwrap());
            assert!(same, "the recording does not add up to {name}");
        }
    }
    assert!(files.keys().all(|name| folder.join(name).exists()), "a file went away unseen");
}

fn survives(durability: Durability) {
    let Recording { folder, trace, lives } = record(durability, is_complete);
    let check = Check::against(&folder.path().join("room"), durability);
    let mut random = fastrand::Rng::with_seed(7);
    let plan = plan(&trace, cuts(), &mut random);
    let (mut disk, mut told, mut played) = (Disk::default(), Told::default(), 0);
    let (mut faults, mut found, mut open, mut loose) = (Vec::new(), 0, 0, 0);
    for (nth, cut) in plan.iter().enumerate() {
        for step in &trace.steps[played..cut.after] {
            disk.step(*step, &trace.calls);
            if let (Step::Begun(_), Call::Say(line)) = (step, &trace.calls[number(*step)]) {
                told.hear(line);
            }
        }
        played = cut.after;
        loose += usize::from(disk.loose() > 0);
        let files = disk.cut(cut.luck, &mut fastrand::Rng::with_seed(cut.seed));
        match check.of(&files, &told, nth % RUNS_ON == 0) {
            Ok(of) => (found, open) = (found + of.tasks, open + of.open),
            Err(fault) => faults.push(format!("{cut:?} of {}: {fault}", trace.steps.len())),
        }
    }
    println!(
        "{durability:?}: {} cuts in {} steps of lives that ended after {lives:?}; something was loose at {loose}; \
         {found} tasks found, {open} of them open; {} cuts with faults",
        plan.len(),
        trace.steps.len(),
        faults.len()
    );
    // Otherwise the cuts could not have shown anything.
    assert!(loose > plan.len() / 10 && found > plan.len() && open > plan.len() / 10, "too little was at stake");
    if !faults.is_empty() {
        let kept = folder.keep();
        let first = faults.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("\n  ");
        panic!("{} of {} cuts; the recording is in {}\n  {first}", faults.len(), plan.len(), kept.display());
    }
}

#[test]
fn relaxed_keeps_what_it_promises() {
    survives(Durability::Relaxed);
}

#[test]
fn strict_keeps_what_was_told() {
    survives(Durability::Strict);
}

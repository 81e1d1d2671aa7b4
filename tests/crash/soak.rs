//! Half an hour at 70 % of what the workers can do, with injuries of every kind at random moments: nothing grows, nothing
//! becomes slower, and at the end nothing is left over. By hand: `CALLBOARD_SOAK_MINUTES` (30) says how long.

use crate::cast::{Cast, Pair, Play};
use crate::kills::{Kill, Role as Killed};
use crate::load::{Fate, Load, Told, now_ms};
use crate::partitions::Disturb;
use crate::pauses::{Pause, Role as Paused};
use crate::rounds::{Dice, Strike, number};
use crate::verdict::{Injury, Verdict, shares, sorted};
use std::time::{Duration, Instant};

/// Steps at once, per agent: with steps of 110 ms on average the workers, and not this machine, are the limit.
const SLOTS: &str = "3";
/// Of what the workers can do.
const SHARE: f64 = 0.7;
/// Enough tasks in flight that every slot is taken, and for how long their ends are counted.
const FULL: (usize, Duration) = (200, Duration::from_secs(20));
/// How many finished tasks are kept.
const KEPT: &str = "2000";
/// Redis writes its file anew when it has doubled: else it grows by 50 KB a task, and a start reads all of it.
const REWRITE: &str = "auto-aof-rewrite-percentage 100\nauto-aof-rewrite-min-size 16mb";
/// Between two injuries, in milliseconds. With more of them nothing is left of the 30 % that are not handed in.
const BETWEEN_MS: (u64, u64) = (20_000, 60_000);
/// Of the whole time, for one line of the table.
const LINES: u32 = 10;

/// Any injury. The first master and the first worker are never killed, so that whatever grows in them is seen.
struct Anything(Disturb);

impl Strike for Anything {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        match dice.one_of(7) {
            0 => Kill::sparing_the_first(&[Killed::Worker]).strike(cast, dice).await,
            1 => Kill::sparing_the_first(&[Killed::Master]).strike(cast, dice).await,
            2 => Kill::sparing_the_first(&[Killed::Gateway]).strike(cast, dice).await,
            3 => Kill::sparing_the_first(&[Killed::Redis]).strike(cast, dice).await,
            4 => Pause(Paused::Worker).strike(cast, dice).await,
            5 => Pause(Paused::Master).strike(cast, dice).await,
            _ => self.0.strike(cast, dice).await,
        }
    }
}

/// How many tasks end in a second when more are there than can be worked on.
async fn capacity(cast: &Cast) -> f64 {
    let load = Load::begin(cast.master_urls(), FULL.0);
    load.more(FULL.0).await;
    let (before, begun) = (load.ended(), Instant::now());
    tokio::time::sleep(FULL.1).await;
    let capacity = (load.ended() - before) as f64 / begun.elapsed().as_secs_f64();
    assert!(load.end().await.iter().all(|told| told.fate == Fate::Succeeded));
    capacity
}

/// Prints one line: what ended since the last one, how long it took, and what the processes hold.
fn line(cast: &Cast, minute: f64, told: &[Told], injuries: usize, over: Duration) {
    let took = sorted(told.iter().map(|one| one.ended_ms - one.submitted_ms).collect());
    let rss = |process: &crate::cast::Process| process.running.as_ref().map_or(0.0, |server| rss_mib(server.id()));
    println!(
        "| {minute:.0} | {injuries} | {:.0} | {} | {:.1} | {:.1} | {:.1} | {:.1} |",
        told.len() as f64 / over.as_secs_f64(),
        shares(&took),
        rss(&cast.masters[0]),
        rss(&cast.workers[0]),
        rss(&cast.gateway),
        rss_mib(cast.redis.id()),
    );
}

fn rss_mib(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

#[tokio::test]
#[ignore = "half an hour, for its figures"]
async fn half_an_hour() {
    let seed = number("CALLBOARD_CRASH_SEED").unwrap_or_else(|| fastrand::u64(1..1_000_000));
    let whole = Duration::from_secs(60 * number("CALLBOARD_SOAK_MINUTES").unwrap_or(30));
    let mut dice = Dice::with_seed(seed);
    let pairs = [Pair::WorkerToMaster, Pair::MasterToWorker, Pair::WorkerToGateway, Pair::MasterToRedis];
    let play = Play::new("soak", Duration::from_secs(2)).redis(crate::kills::always().line(REWRITE)).workers(4);
    let play = play.setting("CALLBOARD_SLOTS", SLOTS).setting("CALLBOARD_RETAIN_TASKS", KEPT);
    let mut cast = pairs.into_iter().fold(play, Play::wired).begin().await;
    let capacity = capacity(&cast).await;
    println!("seed {seed}; capacity {capacity:.1} tasks/s, of which {SHARE} are handed in");
    println!("| minute | injuries | tasks/s | p50 / p99 / longest, ms | master | worker | gateway | Redis, MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    let load = Load::at_rate(cast.master_urls(), capacity * SHARE);
    let (begun, mut injuries) = (Instant::now(), Vec::new());
    let (mut strike, mut told_before, mut hurt_before) = (Anything(Disturb::default()), 0, 0);
    for at in 1..=LINES {
        let until = begun + whole * at / LINES;
        let since = Instant::now();
        while Instant::now() < until {
            tokio::time::sleep(dice.between(BETWEEN_MS.0, BETWEEN_MS.1)).await;
            let mut injury = strike.strike(&mut cast, &mut dice).await;
            injury.over_ms = injury.over_ms.max(now_ms());
            eprintln!("{}: for {} ms", injury.what, injury.over_ms - injury.at_ms);
            injuries.push(injury);
        }
        let told = load.told_since(told_before);
        (told_before, hurt_before) = (told_before + told.len(), injuries.len() - hurt_before);
        line(&cast, begun.elapsed().as_secs_f64() / 60.0, &told, hurt_before, since.elapsed());
        hurt_before = injuries.len();
    }
    let told = load.end().await;
    Verdict::of("soak", seed, &cast, &told, &injuries).await.clean();
}

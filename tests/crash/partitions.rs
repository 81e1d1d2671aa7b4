//! What befalls the network between each pair: cut, dead without a word, slow, losing packets, breaking connections.

use crate::cast::{Cast, Pair, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::verdict::Injury;
use crate::wire::Condition;
use std::time::Duration;

/// Each condition with how long it lasts, in milliseconds; dead for longer than a heartbeat counts.
const CONDITIONS: [(Condition, u64); 5] = [
    (Condition::Cut, 2_000),
    (Condition::Dead, 5_000),
    (Condition::Slow(Duration::from_millis(150)), 3_000),
    (Condition::Lossy(0.3), 3_000),
    (Condition::Breaking(0.05), 3_000),
];

/// Puts a wire into one condition after the other, beginning with a random one.
#[derive(Default)]
pub struct Disturb(Option<usize>);

impl Strike for Disturb {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let next = self.0.map_or_else(|| dice.one_of(CONDITIONS.len()), |last| (last + 1) % CONDITIONS.len());
        self.0 = Some(next);
        let (condition, lasts_ms) = CONDITIONS[next];
        let wire = &cast.wires[dice.one_of(cast.wires.len())];
        let mut injury = injury(format!("{condition:?}"));
        wire.set(condition);
        tokio::time::sleep(Duration::from_millis(lasts_ms)).await;
        wire.set(Condition::Whole);
        injury.over_ms = now_ms();
        injury
    }
}

async fn disturb(name: &'static str, pair: Pair) {
    through(Play::new(name, long()).wired(pair), Disturb::default()).await.clean();
}

#[tokio::test]
async fn from_a_worker_to_a_master() {
    disturb("network, worker to master", Pair::WorkerToMaster).await;
}

#[tokio::test]
async fn from_a_master_to_a_worker() {
    disturb("network, master to worker", Pair::MasterToWorker).await;
}

#[tokio::test]
async fn from_the_workers_to_the_gateway() {
    disturb("network, worker to gateway", Pair::WorkerToGateway).await;
}

#[tokio::test]
async fn from_the_masters_to_redis() {
    disturb("network, master to Redis", Pair::MasterToRedis).await;
}

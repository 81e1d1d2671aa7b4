//! Clocks that are set: two minutes forward and back again, on the machine of Redis, of the masters, of the workers. Each
//! process has a clock of its own; what is measured by the monotonic clock goes on as it was.

use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::support::clock::Clock;
use crate::verdict::Injury;
use std::time::Duration;

/// More than a heartbeat counts and any pause lasts, less than any time-out of a step.
const JUMP_S: i64 = 120;

#[derive(Debug, Clone, Copy)]
enum Whose {
    Redis,
    Masters,
    Workers,
}

/// Sets clocks forward, and a while later right again.
struct Jump(Whose);

impl Strike for Jump {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let mut injury = injury(format!("the clock of {:?} jumped", self.0));
        let clocks: Vec<&Clock> = match self.0 {
            Whose::Redis => cast.redis.clock().into_iter().collect(),
            Whose::Masters => cast.masters.iter().filter_map(|master| master.clock.as_ref()).collect(),
            Whose::Workers => cast.workers.iter().filter_map(|worker| worker.clock.as_ref()).collect(),
        };
        assert!(!clocks.is_empty());
        clocks.iter().for_each(|clock| clock.set(JUMP_S));
        tokio::time::sleep(dice.between(2_000, 3_000)).await;
        clocks.iter().for_each(|clock| clock.set(0));
        tokio::time::sleep(Duration::from_secs(2)).await;
        injury.over_ms = now_ms();
        injury
    }
}

#[tokio::test]
async fn of_redis() {
    through(Play::new("the clock of Redis jumps", long()).clocked(), Jump(Whose::Redis)).await.clean();
}

#[tokio::test]
async fn of_the_masters() {
    through(Play::new("the masters' clocks jump", long()).clocked(), Jump(Whose::Masters)).await.clean();
}

#[tokio::test]
async fn of_the_workers() {
    through(Play::new("the workers' clocks jump", long()).clocked(), Jump(Whose::Workers)).await.clean();
}

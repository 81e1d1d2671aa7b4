//! A rolling restart: each of three masters in turn is ended in order and started again, under load.

use crate::cast::{Cast, Play};
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::verdict::Injury;

/// Ends the masters one after the other, each when the one before is back.
struct Roll;

impl Strike for Roll {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let injury = injury("each master in turn");
        for master in &mut cast.masters {
            master.terminate();
            master.start();
            let server = master.running.as_ref().expect("it was started");
            server.until("/ready", |status, body| status == 200 && body["status"] == "ready").await;
            tokio::time::sleep(dice.between(500, 1500)).await;
        }
        injury
    }
}

#[tokio::test]
async fn of_three_masters() {
    through(Play::new("rolling restart of three masters", long()).masters(3), Roll).await.clean();
}

/// Ends the workers one after the other; what one has when its time to drain is over is handed back.
struct RollWorkers;

impl Strike for RollWorkers {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let injury = injury("each worker in turn");
        for worker in &mut cast.workers {
            worker.terminate();
            worker.start();
            tokio::time::sleep(dice.between(500, 1500)).await;
        }
        cast.until_joined().await;
        injury
    }
}

#[tokio::test]
async fn of_all_workers() {
    let play = Play::new("rolling restart of all workers", long()).setting("CALLBOARD_DRAIN_GRACE", "1s");
    through(play, RollWorkers).await.clean();
}

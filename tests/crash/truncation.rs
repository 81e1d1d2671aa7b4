//! The machine of a Redis server with `appendfsync everysec` loses power: the end of its file is gone. What was answered
//! for within the last second may be lost, as the durability table says, and the rest is sound. That whoever saw more is
//! told so has a test of its own, `tests/http_api/events.rs`.

use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::support::redis::Wanted;
use crate::verdict::Injury;

/// The most that is cut off, in bytes: about what a second writes.
const MOST: u64 = 200_000;

/// Kills Redis and cuts the end of its file off.
struct Cut;

impl Strike for Cut {
    async fn strike(&mut self, cast: &mut Cast, dice: &mut Dice) -> Injury {
        let mut injury = injury("Redis lost the end of its file");
        cast.redis.kill();
        cast.redis.cut_end(dice.between(1_000, MOST).as_millis().try_into().unwrap());
        cast.redis.restart();
        injury.over_ms = now_ms();
        cast.until_joined().await;
        injury
    }
}

#[tokio::test]
async fn of_a_file_that_is_synced_every_second() {
    let redis = Wanted::default().durable().line("appendfsync everysec");
    let play = Play::new("Redis loses the end of its file, AOF everysec", long()).redis(redis);
    through(play, Cut).await.sound();
}

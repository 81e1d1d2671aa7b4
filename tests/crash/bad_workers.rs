//! Workers that do not do what they should: one that accepts and never answers, one that is deaf and says that it lives,
//! one that answers after its lease, one that answers twice, one that answers for others.

use crate::backstage::backstage;
use crate::cast::{Cast, Play};
use crate::load::now_ms;
use crate::rounds::{Dice, Strike, injury, long, through};
use crate::support::hands::{Hands, deaf};
use crate::verdict::Injury;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long one of them stays.
const STAY: Duration = Duration::from_secs(4);
/// Longer than a heartbeat counts, so that a lease is over by then.
const LATE: Duration = Duration::from_millis(3_500);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vice {
    NeverAnswers,
    IsDeaf,
    AnswersLate,
    AnswersTwice,
    AnswersForOthers,
}

/// Lets one of them join for a while, beside those who work.
struct Visit(Vice);

impl Strike for Visit {
    async fn strike(&mut self, cast: &mut Cast, _: &mut Dice) -> Injury {
        let mut injury = injury(format!("a worker that {:?}", self.0));
        let master = cast.master_urls().remove(0);
        let is_over = Arc::new(AtomicBool::new(false));
        let (url, worker) = match self.0 {
            Vice::IsDeaf => (deaf(), None),
            vice => {
                let hands = Hands::listen();
                (hands.url.clone(), Some(work_badly(vice, hands, master.clone(), is_over.clone())))
            }
        };
        let http = reqwest::Client::new();
        let capabilities = ["analyze", "retrieve", "evaluate", "finalize"];
        let declaration = json!({"agent_id": "a-bad-worker", "url": url, "capabilities": capabilities, "slots": 16,
            "ag2_profile": "bad", "incarnation": now_ms().to_string()});
        assert!(post(&http, &format!("{master}/register"), &declaration).await);
        // It says that it lives, and of no attempt that it has it.
        let beat =
            json!({"agent_id": "a-bad-worker", "incarnation": declaration["incarnation"], "load": 0.0, "steps": []});
        for _ in 0..STAY.as_secs() {
            post(&http, &format!("{master}/heartbeat"), &beat).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let left = http.delete(format!("{master}/register/a-bad-worker")).send().await.unwrap();
        assert!(left.status().is_success());
        is_over.store(true, Ordering::Relaxed);
        injury.over_ms = now_ms();
        drop(worker.map(std::thread::JoinHandle::join));
        injury
    }
}

async fn post(http: &reqwest::Client, url: &str, body: &Value) -> bool {
    http.post(url).json(body).send().await.is_ok_and(|response| response.status().is_success())
}

/// Takes whatever comes until it is over, and does with it what its vice says.
fn work_badly(vice: Vice, hands: Hands, master: String, is_over: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut before: Option<Value> = None;
        while !is_over.load(Ordering::Relaxed) {
            let Some(work) = hands.next_within(Duration::from_millis(100)) else { continue };
            let result = |work: &Value| {
                json!({"task_id": work["task_id"], "sub_id": work["sub_id"], "agent_id": "a-bad-worker",
                    "attempt": work["attempt"], "status": "succeeded", "output": {"text": "done badly"}})
            };
            let answers: Vec<(Duration, Value)> = match vice {
                Vice::NeverAnswers | Vice::IsDeaf => Vec::new(),
                Vice::AnswersLate => vec![(LATE, result(&work))],
                Vice::AnswersTwice => vec![(Duration::ZERO, result(&work)), (Duration::ZERO, result(&work))],
                Vice::AnswersForOthers => {
                    // Its own, and in another's name; and an attempt that nobody made.
                    let mut others = result(&work);
                    others["agent_id"] = json!("agent-analyze@127.0.0.1:1");
                    let mut unmade = result(before.as_ref().unwrap_or(&work));
                    unmade["attempt"] = json!(77);
                    vec![(Duration::ZERO, others), (Duration::ZERO, unmade), (Duration::ZERO, result(&work))]
                }
            };
            before = Some(work);
            let master = master.clone();
            backstage().spawn(async move {
                let http = reqwest::Client::new();
                for (delay, answer) in answers {
                    tokio::time::sleep(delay).await;
                    post(&http, &format!("{master}/result"), &answer).await;
                }
            });
        }
    })
}

async fn visit(name: &'static str, vice: Vice) {
    through(Play::new(name, long()), Visit(vice)).await.clean();
}

#[tokio::test]
async fn one_that_never_answers() {
    visit("a worker that accepts and never answers", Vice::NeverAnswers).await;
}

#[tokio::test]
async fn one_that_is_deaf() {
    visit("a deaf worker that heartbeats", Vice::IsDeaf).await;
}

#[tokio::test]
async fn one_that_answers_late() {
    visit("a worker that answers after its lease", Vice::AnswersLate).await;
}

#[tokio::test]
async fn one_that_answers_twice() {
    visit("a worker that answers twice", Vice::AnswersTwice).await;
}

#[tokio::test]
async fn one_that_answers_for_others() {
    visit("a worker that answers for others", Vice::AnswersForOthers).await;
}

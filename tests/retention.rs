//! Finished tasks go when the settings say so, those that ended first before the others, and nothing else does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use callboard::store::ListQuery;
use callboard::testkit::{Company, Scripted, TestCompany, when};
use std::time::Duration;

async fn ids(company: &Company) -> Vec<String> {
    let query = ListQuery { tenant: None, status: None, before: None, limit: 100 };
    let page = company.callboard().store().list(query).await.unwrap();
    let mut ids: Vec<_> = page.tasks.into_iter().map(|task| task.key.id.to_string()).collect();
    ids.sort();
    ids
}

#[test]
fn the_newest_are_kept_and_what_is_open_is_never_removed() {
    for is_sqlite in [false, true] {
        let model = Scripted::default().line(when("analyze").nth(1).says("late").after(Duration::from_secs(600)));
        let company = TestCompany::default().setting("retain_tasks", "2").model(model);
        let company = if is_sqlite { company.sqlite() } else { company };
        company.run(async |company| {
            let slow = company.submit("t-0").await;
            for nth in 1..=5 {
                let task = company.submit(&format!("t-{nth}")).await;
                company.answer(&task).await;
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(ids(company).await, ["t-0", "t-4", "t-5"]);
            company.answer(&slow).await;
            tokio::time::sleep(Duration::from_secs(30)).await;
            assert_eq!(ids(company).await, ["t-0", "t-5"]);
        });
    }
}

#[test]
fn what_ended_long_ago_goes() {
    TestCompany::default().setting("retain_for", "1h").run(async |company| {
        let old = company.submit("t-old").await;
        company.answer(&old).await;
        tokio::time::sleep(Duration::from_secs(1800)).await;
        let young = company.submit("t-young").await;
        company.answer(&young).await;
        assert_eq!(ids(company).await, ["t-old", "t-young"]);
        tokio::time::sleep(Duration::from_secs(1830)).await;
        assert_eq!(ids(company).await, ["t-young"]);
    });
}

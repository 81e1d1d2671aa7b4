//! One suite, three ways to run Callboard: one process with its store in memory, one with SQLite, and master, gateway and
//! four workers over Redis as processes of their own. Whatever a check says must hold for all; docs/parity.md lists them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod checks;
mod deployment;
#[path = "../support/mod.rs"]
mod support;

/// Runs each check against every deployment.
macro_rules! for_every_deployment {
    ($($check:ident),+ $(,)?) => {
        /// The names of all checks.
        const CHECKS: &[&str] = &[$(stringify!($check)),+];
        for_every_deployment!(@ memory, $($check),+);
        for_every_deployment!(@ sqlite, $($check),+);
        for_every_deployment!(@ split, $($check),+);
    };
    (@ $deployment:ident, $($check:ident),+) => {
        mod $deployment {
            $(#[tokio::test]
            async fn $check() {
                crate::checks::$check(crate::deployment::Kind::$deployment()).await;
            })+
        }
    };
}

for_every_deployment! {
    a_task_passes_four_stages_to_its_answer,
    an_answer_quotes_the_documents,
    a_wait_ends_with_the_answer_or_the_state_so_far,
    the_same_submission_again_is_the_same_task,
    another_submission_of_the_same_name_is_refused,
    an_idempotency_key_names_a_submission,
    a_log_has_no_gap_and_every_step_counts_once,
    a_stream_is_taken_up_where_it_broke_off,
    a_running_task_can_be_followed,
    a_task_can_be_cancelled,
    a_cancelled_task_frees_its_slot,
    a_deadline_ends_a_task,
    a_failure_is_tried_again_and_costs_an_attempt,
    a_failure_for_good_ends_the_task,
    a_panic_costs_no_attempt,
    a_step_that_hangs_fails_as_too_slow,
    what_is_large_arrives_whole,
    a_context_reaches_every_stage,
    many_tasks_at_once_all_end,
    steps_wait_for_slots_and_all_run,
    the_urgent_go_first,
    lists_show_what_there_is,
    agents_are_listed_with_what_they_do,
    what_is_not_there_is_not_found,
    what_is_out_of_bounds_is_refused,
    readiness_and_health_answer,
    outputs_stay_small,
    a_team_of_ones_own_works,
}

#[test]
fn every_check_is_listed_with_its_three_columns() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/parity.md");
    let page = std::fs::read_to_string(page).unwrap();
    let row = |check: &str| format!("| {} | yes | yes | yes |", check.replace('_', " "));
    let listed: Vec<_> = page.lines().filter(|line| line.ends_with("| yes | yes | yes |")).collect();
    assert_eq!(listed, CHECKS.iter().map(|check| row(check)).collect::<Vec<_>>(), "docs/parity.md lists other checks");
}

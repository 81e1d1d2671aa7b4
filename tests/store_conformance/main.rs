//! One suite for every store: whatever a check says must hold for all of them, so that nobody above can tell which one it
//! has. What only a durable store promises is checked beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod beside;
#[path = "../support/clock.rs"]
mod clock;
mod crash;
mod due;
mod durable;
mod faults;
mod fixture;
mod histories;
mod ledger;
#[path = "../support/ports.rs"]
mod ports;
#[path = "../support/redis.rs"]
mod redis_server;
mod retention;
mod schedules;
mod shared;
mod subject;
mod syncs;
mod tasks;
mod transfer;

/// Runs each check against every store.
macro_rules! for_every_store {
    ($($room:ident: $($check:ident),+;)+) => {
        for_every_store!(@ memory, $($room: $($check),+;)+);
        // The test kit's wrapper, while nothing goes wrong, must not be told from what is in it.
        for_every_store!(@ memory_in_faults, $($room: $($check),+;)+);
        for_every_store!(@ sqlite_relaxed, $($room: $($check),+;)+);
        for_every_store!(@ sqlite_strict, $($room: $($check),+;)+);
        for_every_store!(@ redis, $($room: $($check),+;)+);
        // Over TLS, as a user who may do no more than is needed.
        for_every_store!(@ redis_guarded, $($room: $($check),+;)+);
    };
    (@ $store:ident, $($room:ident: $($check:ident),+;)+) => {
        mod $store {
            $(mod $room {
                $(#[test]
                fn $check() {
                    crate::subject::run(async { crate::$room::$check(crate::subject::Subject::$store().await).await });
                })+
            })+
        }
    };
}

for_every_store! {
    tasks: a_commit_is_there_whole, a_stale_commit_changes_nothing, the_same_commit_twice_is_once,
        of_two_masters_one_wins, nonsense_is_refused, an_id_is_one_tenants, a_repeated_submission_is_recognised,
        two_key_spaces_must_agree, a_full_store_says_so, equal_submissions_at_once_make_one_task, events_come_in_pages,
        readers_are_woken, payloads_stay_beside, lists_are_stable, lists_can_be_narrowed, stats_count,
        a_closed_store_says_so;
    due: a_queue_has_an_order, a_claimed_step_leaves_the_queue, timers_are_claimed, cleared_timers_never_fire,
        leases_run_out, renewed_leases_stand, leases_that_are_gone_are_answered, an_agents_death_ends_its_leases;
    beside: agents_live_as_long_as_they_beat, a_new_record_replaces_the_old, other_agents_are_told_of,
        context_is_per_tenant, traces_keep_their_order;
    ledger: a_reservation_is_all_or_nothing, the_same_call_twice_is_once, an_unsettled_reservation_is_spent,
        a_late_settlement_corrects, large_numbers_come_back, no_limit_is_ever_passed;
    retention: old_tasks_go_and_open_ones_never_do, the_newest_stay, one_tenants_tasks_go_alone,
        nothing_of_a_removed_task_is_left;
    transfer: a_round_trip_gives_the_same_lines, open_tasks_go_on_where_they_came, what_differs_is_refused_and_kept,
        unsound_tasks_are_refused, a_part_can_be_exported, long_exports_come_in_pages;
    histories: a_task_of_a_used_id_is_no_base_of_the_earlier_ones_commits, a_clock_that_is_set_back_makes_nobody_wait;
    schedules: every_schedule_folds_to_what_is_stored;
}

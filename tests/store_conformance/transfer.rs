//! Records out of a store and into another: everything comes along, open tasks go on, and what does not fit is refused
//! without harm.

use crate::subject::{
    Subject, agent, capability, feed, first, fleet, key, key_of, live, named, report, run, step, submission, succeeded,
    take,
};
use callboard::store::{
    Clash, Committed, Differs, ExportQuery, ImportError, ImportReport, Imported, Importer, Line, Lines, Record, Spend,
    Store,
};
use callboard::task::{CallId, Json, Outcome, Payload, Scope, Status, TaskId, Tenant};
use std::sync::Arc;

type Shared = Arc<dyn Store>;

/// A store with something of everything in it.
async fn furnish(store: &dyn Store) {
    live(store, "done").await;
    take(store, "queued", 0).await;
    take(store, "running", 1).await;
    let question = named(submission(&key_of("acme", "large"), &"long ".repeat(1000)), "name");
    let commit = first(&question, &fleet(1), store.now());
    let task = commit.task.clone();
    assert_eq!(store.commit(commit).await, Ok(Committed::Applied));
    let output = Payload::Inline(Json::from_text("{\"text\":\n\"two\"}".into()).unwrap());
    feed(store, &task, report(step("large", 1), Outcome::Succeeded(output)), 1).await;
    let value = |text: &str| Json::from_text(text.into()).unwrap();
    store.append_trace(&key("done"), &agent("bob"), vec![value("1"), value("{\"a\": [2]}")]).await.unwrap();
    store.append_trace(&key("done"), &agent("ann"), vec![value("3")]).await.unwrap();
    store.set_context(&Tenant::default(), "b", Some(value("[1]"))).await.unwrap();
    store.set_context(&Tenant::trusted("acme"), "a", Some(value("null"))).await.unwrap();
    let scope = Scope::trusted("s");
    store.set_budget(&scope, Some(Spend { tokens: 100, micro_usd: u64::MAX })).await.unwrap();
    let upper = Spend { tokens: 5, micro_usd: 6 };
    for call in ["c1", "c2"] {
        store.reserve(&CallId::trusted(call), std::slice::from_ref(&scope), upper, 60_000).await.unwrap();
    }
    store.settle(&CallId::trusted("c2"), Spend { tokens: 1, micro_usd: 1 }).await.unwrap();
}

async fn exported(store: &Shared, query: ExportQuery) -> Vec<String> {
    let (mut lines, mut all) = (Lines::new(store.clone(), query), Vec::new());
    while let Some(line) = lines.next().await.unwrap() {
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        all.push(line);
    }
    all
}

async fn imported(store: &Shared, lines: &[String], dry_run: bool) -> Result<ImportReport, ImportError> {
    let mut importer = Importer::new(store.clone(), dry_run);
    for line in lines {
        importer.take(line.as_bytes()).await?;
    }
    importer.finish().await
}

/// The records' lines, which say nothing of when and where from.
fn records(lines: &[String]) -> Vec<String> {
    lines[1..].to_vec()
}

fn report_of(written: u64, already_there: u64) -> ImportReport {
    ImportReport { written, already_there, complete: true, ..ImportReport::default() }
}

pub async fn a_round_trip_gives_the_same_lines(Subject { store, .. }: Subject) {
    furnish(&*store).await;
    let lines = exported(&store, ExportQuery::default()).await;
    assert!(matches!(serde_json::from_str(&lines[0]), Ok(Line::CallboardExport(header)) if header.format == 1));
    // Four tasks, two fields, one budget, two reservations, between header and end.
    assert_eq!(lines.len(), 4 + 2 + 1 + 2 + 2);
    for target in [Subject::memory(), Subject::sqlite_relaxed(), Subject::sqlite_strict()] {
        assert_eq!(imported(&target.store, &lines, true).await.unwrap(), report_of(9, 0));
        assert_eq!(exported(&target.store, ExportQuery::default()).await.len(), 2, "a dry run changes nothing");
        assert_eq!(imported(&target.store, &lines, false).await.unwrap(), report_of(9, 0));
        assert_eq!(records(&exported(&target.store, ExportQuery::default()).await), records(&lines));
        assert_eq!(imported(&target.store, &lines, false).await.unwrap(), report_of(0, 9));
        assert_eq!(records(&exported(&target.store, ExportQuery::default()).await), records(&lines));
        assert_eq!(target.store.stats().open_tasks, 3);
    }
}

pub async fn open_tasks_go_on_where_they_came(Subject { store, clock, .. }: Subject) {
    let source = Subject::memory();
    furnish(&*source.store).await;
    let lines = exported(&source.store, ExportQuery::default()).await;
    imported(&store, &lines, false).await.unwrap();
    // Nobody here holds what was held there.
    clock.advance(1);
    let lost = store.expired_leases(9, 1_000).await.unwrap().due;
    assert_eq!(lost.iter().map(|(key, _)| key.id.as_str()).collect::<Vec<_>>(), ["running", "large"]);
    let waiting = store.waiting(&capability("analyze"), 9).await.unwrap();
    assert_eq!(waiting.entries[0].0, key("queued"));
    clock.advance(365 * 24 * 3_600_000);
    assert_eq!(store.due_timers(99, 1_000).await.unwrap().due.len(), {
        source.clock.advance(365 * 24 * 3_600_000);
        source.store.due_timers(99, 1_000).await.unwrap().due.len()
    });
    let task = store.load(&key("running")).await.unwrap().unwrap();
    let task = feed(&*store, &task, succeeded(step("running", 1)), 1).await;
    let task = feed(&*store, &task, succeeded(step("running", 2)), 1).await;
    assert_eq!(task.status(), Status::Succeeded);
    assert_eq!(store.events(&key("running"), 0, 99).await.unwrap().unwrap().len() as u64, task.version);
    assert_eq!(store.events(&key("running"), 3, 2).await.unwrap().unwrap()[0].seq, 4);
    // What it was is still known here, though it has gone on.
    let again = imported(&store, &lines, false).await.unwrap();
    assert_eq!((again.written, again.refused, again.already_there), (0, 0, 9));
    // A repeated submission finds the task.
    let again = named(submission(&key_of("acme", "other"), &"long ".repeat(1000)), "name");
    let again = callboard::task::Submission { id_given: false, ..again };
    let repeated = store.commit(first(&again, &fleet(1), store.now())).await;
    assert_eq!(repeated, Ok(Committed::Repeated(key_of("acme", "large"))));
}

pub async fn what_differs_is_refused_and_kept(Subject { store, .. }: Subject) {
    let source = Subject::memory();
    furnish(&*source.store).await;
    let lines = exported(&source.store, ExportQuery::default()).await;
    // The same names, other things.
    live(&*store, "running").await;
    assert_eq!(
        store.commit(first(&submission(&key_of("other", "done"), "?"), &fleet(0), store.now())).await,
        Ok(Committed::Applied)
    );
    let taken = named(submission(&key_of("acme", "first"), "mine"), "name");
    assert_eq!(store.commit(first(&taken, &fleet(0), store.now())).await, Ok(Committed::Applied));
    store.set_context(&Tenant::default(), "b", Some(Json::null())).await.unwrap();
    store.set_budget(&Scope::trusted("s"), None).await.unwrap();
    store.set_budget(&Scope::trusted("s"), Some(Spend { tokens: 1, micro_usd: 1 })).await.unwrap();
    let before = exported(&store, ExportQuery::default()).await;
    for dry_run in [true, false] {
        let report = imported(&store, &lines, dry_run).await.unwrap();
        let refused: Vec<_> = report.refusals.iter().map(|refused| (refused.line, refused.what.as_str())).collect();
        let expected = [
            (2, "task default/done"),
            (4, "task default/running"),
            (5, "task acme/large"),
            (7, "shared context default/b"),
            (8, "budget s"),
        ];
        assert_eq!((refused, report.refused, report.written), (expected.to_vec(), 5, 4));
    }
    let after = exported(&store, ExportQuery::default()).await;
    let kept: Vec<_> = records(&before).into_iter().filter(|line| !line.starts_with("{\"end\"")).collect();
    assert!(kept.iter().all(|line| after.contains(line)), "what was there is as it was");
    // Behind what was refused nothing is half done: the names are free, or still the others'.
    let free = store.commit(first(&submission(&key_of("acme", "large"), "new"), &fleet(0), store.now())).await;
    assert_eq!(free, Ok(Committed::Applied));
    let clash = store.commit(first(&submission(&key("running"), "new"), &fleet(0), store.now())).await;
    assert_eq!(clash, Ok(Committed::Clash(Clash::TaskId)));
}

pub async fn unsound_tasks_are_refused(Subject { store, .. }: Subject) {
    let source = Subject::memory();
    furnish(&*source.store).await;
    let lines = exported(&source.store, ExportQuery::default()).await;
    let large = lines.iter().position(|line| line.contains("\"large\"")).unwrap();
    for (from, to, expected) in [
        ("\"version\":5", "\"version\":6", "do not give its state"),
        ("\"seq\":3", "\"seq\":9", "stands where 3 should"),
        ("\"step\":1", "\"step\":7", "and the plan has 2"),
        ("\"payloads\":[[\"request\"", "\"payloads\":[[\"other\"", "not there"),
        ("\"schema\":1", "\"schema\":999", "use a newer callboard"),
    ] {
        assert!(lines[large].contains(from), "{from}: {}", lines[large]);
        let mut changed = lines.clone();
        changed[large] = lines[large].replace(from, to);
        let report = imported(&store, &changed, true).await.unwrap();
        assert_eq!((report.written, report.refused), (8, 1));
        assert!(report.refusals[0].why.contains(expected), "{:?}", report.refusals[0]);
        assert_eq!(report.refusals[0].line, large as u64 + 1);
    }
}

pub async fn a_part_can_be_exported(Subject { store, clock, .. }: Subject) {
    furnish(&*store).await;
    clock.advance(1_000);
    let later = store.now();
    live(&*store, "later").await;
    let whole = ExportQuery::default();
    let acme = Some(Tenant::trusted("acme"));
    for (query, tasks, others) in [
        (whole.clone(), vec!["done", "queued", "running", "large", "later"], 5),
        (ExportQuery { tenant: acme.clone(), ..whole.clone() }, vec!["large"], 1),
        (ExportQuery { status: Some(Status::Succeeded), ..whole.clone() }, vec!["done", "later"], 0),
        (ExportQuery { since: Some(later), ..whole.clone() }, vec!["later"], 0),
        (ExportQuery { until: Some(later), tenant: acme, ..whole.clone() }, vec!["large"], 0),
        (
            ExportQuery { ids: ["later", "nobody", "done"].map(TaskId::trusted).to_vec(), ..whole },
            vec!["done", "later"],
            0,
        ),
    ] {
        let lines = exported(&store, query.clone()).await;
        let found: Vec<_> = lines
            .iter()
            .filter_map(|line| match serde_json::from_str(line) {
                Ok(Line::Task(task)) => Some(task.state.key.id.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(found, tasks, "{query:?}");
        assert_eq!(lines.len() - 2 - found.len(), others, "{query:?}");
    }
}

pub async fn long_exports_come_in_pages(Subject { store, .. }: Subject) {
    let tasks = 600;
    for n in 0..tasks {
        take(&*store, &format!("t{n}"), 0).await;
        store.set_context(&Tenant::default(), &format!("f{n:04}"), Some(Json::null())).await.unwrap();
        store.set_budget(&Scope::trusted(format!("s{n:04}")), Some(Spend { tokens: n, micro_usd: 0 })).await.unwrap();
    }
    let lines = exported(&store, ExportQuery::default()).await;
    let Ok(Line::End(totals)) = serde_json::from_str(lines.last().unwrap()) else { panic!("no end") };
    assert_eq!((totals.tasks, totals.context, totals.budgets), (tasks, tasks, tasks));
    assert_eq!(lines.len() as u64, 3 * tasks + 2);
    let mut once = records(&lines);
    once.sort();
    once.dedup();
    assert_eq!(once.len(), lines.len() - 1, "nothing comes twice");
}

#[test]
fn what_is_no_export_stops_at_its_line() {
    run(async {
        let source = Subject::memory();
        furnish(&*source.store).await;
        let lines = exported(&source.store, ExportQuery::default()).await;
        let target = Subject::memory();
        let stopped = |lines: Vec<String>| {
            let store = target.store.clone();
            async move { imported(&store, &lines, false).await.map_err(|error| error.to_string()) }
        };
        assert!(stopped(vec![]).await.unwrap_err().contains("no header"));
        assert!(stopped(lines[1..].to_vec()).await.unwrap_err().contains("line 1 is no header"));
        let newer = lines[0].replace("\"format\":1", "\"format\":2");
        assert!(stopped(vec![newer]).await.unwrap_err().contains("newer callboard"));
        let mut cut = lines[..4].to_vec();
        cut[3].truncate(100);
        assert!(stopped(cut).await.unwrap_err().starts_with("line 4 is no record"));
        assert!(target.store.load(&key("queued")).await.unwrap().is_some(), "what came before is imported");
        let report = stopped(lines[..lines.len() - 1].to_vec()).await.unwrap();
        assert!(!report.complete, "the last line is missing");
    });
}

#[test]
fn of_two_equal_imports_at_once_one_writes() {
    run(async {
        let source = Subject::memory();
        live(&*source.store, "t1").await;
        let lines = exported(&source.store, ExportQuery::default()).await;
        let Ok(Line::Task(task)) = serde_json::from_str(&lines[1]) else { panic!("no task") };
        for target in [Subject::memory(), Subject::sqlite_relaxed()] {
            let import = || target.store.import(Record::Task(task.clone()), false);
            let both = futures_util::future::join(import(), import()).await;
            assert_eq!(both, (Ok(Imported::Written), Ok(Imported::AlreadyThere)));
            let older = Record::Task(Box::new({
                let mut other = (*task).clone();
                other.events.truncate(3);
                other
            }));
            assert_eq!(target.store.import(older, false).await, Ok(Imported::AlreadyThere));
        }
        assert_eq!(Differs::Value.to_string(), "the store has another value for it, and keeps that");
    });
}

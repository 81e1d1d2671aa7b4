//! `callboard tasks`: the list, newest first, page by page. With `--all` each page is printed as it comes, so that a
//! million tasks need no room.

use super::args::TasksArgs;
use super::clean::{clean_json, clean_line};
use super::client::Client;
use super::environment::Environment;
use super::exit::Outcome;
use super::host::client_command;
use super::output::{note, print};
use super::table::{clipped, table};
use super::wire::{Listed, TaskPage};

/// How much of an objective is shown.
const SUMMARY: usize = 60;

/// Runs it.
pub fn tasks(args: &TasksArgs, environment: &Environment) -> Outcome {
    let client = Client::from_choices(args.server.server.as_deref(), environment)?;
    client_command(async {
        let (mut cursor, mut has_some) = (None, false);
        loop {
            let page = client.tasks(&query(args, cursor)).await?;
            let is_empty = page.read.tasks.is_empty();
            // A search may have to go on before it finds anything.
            if args.server.json || !is_empty || (page.read.next_cursor.is_none() && !has_some) {
                print(&if args.server.json { clean_json(&page.text) } else { rows(&page.read) })?;
            }
            has_some |= !is_empty;
            cursor = page.read.next_cursor;
            if cursor.is_none() || !args.all {
                break;
            }
        }
        if cursor.is_some() && !args.server.json {
            note("there are more: --all shows them");
        }
        Ok(())
    })
}

fn query(args: &TasksArgs, cursor: Option<String>) -> Vec<(&'static str, String)> {
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.status.clone().map(|status| ("status", status)));
    let moment = |time: std::time::SystemTime| humantime::format_rfc3339_millis(time).to_string();
    query.extend(args.agent.clone().map(|agent| ("agent", agent)));
    query.extend(args.since.map(|since| ("since", moment(since))));
    query.extend(args.until.map(|until| ("until", moment(until))));
    query.extend(args.text.clone().map(|text| ("text", text)));
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    query
}

fn rows(page: &TaskPage) -> String {
    if page.tasks.is_empty() {
        return "no tasks".to_owned();
    }
    let row = |task: &Listed| {
        let cells = [&task.task_id, &task.status, &task.priority, &task.accepted_at].map(|cell| clean_line(cell));
        let mut row = cells.to_vec();
        row.push(clipped(&clean_line(&task.summary), SUMMARY));
        row
    };
    let rows: Vec<_> = page.tasks.iter().map(row).collect();
    table(&["ID", "STATUS", "PRIORITY", "ACCEPTED", "OBJECTIVE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_stand_in_columns() {
        let page = serde_json::from_str(
            r#"{"tasks": [
                {"task_id": "t-1", "status": "succeeded", "priority": "normal", "accepted_at": "now", "summary": "a\n\u001bb"},
                {"task_id": "t-22", "status": "failed", "priority": "low", "accepted_at": "then", "summary": "c"}]}"#,
        );
        insta::assert_snapshot!(rows(&page.unwrap()), @r"
        ID    STATUS     PRIORITY  ACCEPTED  OBJECTIVE
        t-1   succeeded  normal    now       a �b
        t-22  failed     low       then      c
        ");
    }
}

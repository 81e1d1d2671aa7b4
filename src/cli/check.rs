//! `callboard check`: looks at the settings and tries everything that they name, as a server would need it, and says of
//! each fault what to do. Nothing is left behind, and no secret is shown.

use super::args::CheckArgs;
use super::clean::clean_line;
use super::client::Client;
use super::environment::Environment;
use super::exit::{Code, Exit, Outcome};
use super::host::in_a_runtime;
use super::output::print;
use callboard::http::ColleagueUrl;
use callboard::node::open_store;
use callboard::settings::{Settings, Shown, StoreUrl};
use callboard::team::Team;
use serde::Serialize;
use serde_json::json;
use std::net::TcpListener;
use std::path::Path;

/// What came of one look.
#[derive(Debug, Serialize)]
struct Check {
    /// What was looked at.
    name: &'static str,
    ok: bool,
    /// What was found, or what is wrong and what to do about it.
    says: String,
}

impl Check {
    fn of(name: &'static str, found: Result<String, String>) -> Self {
        let ok = found.is_ok();
        Self { name, ok, says: found.unwrap_or_else(|fault| fault) }
    }
}

/// Runs it.
pub fn check(args: &CheckArgs, environment: &Environment) -> Outcome {
    let survey = environment.survey(args.serve.team.config.as_deref(), &args.serve.overrides());
    let (checks, code) = match &survey.settings {
        Ok(settings) => (connections(settings)?, Code::Unavailable),
        Err(error) => {
            let fault = |problem: &callboard::settings::Problem| Check::of("settings", Err(problem.to_string()));
            (error.problems.iter().map(fault).collect(), Code::Settings)
        }
    };
    let faults = checks.iter().filter(|check| !check.ok).count();
    if args.json {
        let settings: Vec<_> = survey.values.iter().map(setting).collect();
        print(&json!({"ok": faults == 0, "checks": checks, "settings": settings}).to_string())?;
    } else {
        for check in &checks {
            print(&line(check))?;
        }
    }
    match faults {
        0 => Ok(()),
        1 => Err(Exit::new(code, "one thing is not as it should be")),
        several => Err(Exit::new(code, format!("{several} things are not as they should be"))),
    }
}

fn setting(shown: &Shown) -> serde_json::Value {
    json!({"name": shown.name, "value": shown.value, "from": shown.source.to_string()})
}

fn line(check: &Check) -> String {
    format!("{}  {:8}  {}", if check.ok { "ok   " } else { "FAULT" }, check.name, clean_line(&check.says))
}

fn connections(settings: &Settings) -> Result<Vec<Check>, Exit> {
    let (roles, colleagues) = (settings.roles, &settings.colleagues);
    let mut checks = vec![Check::of("settings", Ok("they can be used".to_owned()))];
    if roles.master {
        checks.push(Check::of("store", in_a_runtime(store(settings))?));
    }
    checks.push(Check::of("listen", listen(settings)));
    checks.push(Check::of("team", team(settings)));
    if roles.gateway {
        checks.push(Check::of("provider", Ok(format!("{} answers in this process", settings.models.provider.name()))));
    }
    let elsewhere = [("master", roles.master, &colleagues.master), ("gateway", roles.gateway, &colleagues.gateway)];
    for (name, is_here, url) in elsewhere {
        if let Some(url) = url.as_ref().filter(|_| !is_here) {
            checks.push(Check::of(name, in_a_runtime(colleague(url))?));
        }
    }
    Ok(checks)
}

/// Whether a colleague lives, at each of the places where it may be.
async fn colleague(url: &ColleagueUrl) -> Result<String, String> {
    let mut found = Vec::new();
    for place in url.as_str().split(',').map(str::trim).filter(|place| !place.is_empty()) {
        let client = Client::new(place, None).map_err(|error| error.to_string())?;
        let alive = client.get::<serde_json::Value>(&["health"]).await;
        let shown = client.server();
        alive.map_err(|error| format!("nobody answers at {shown} ({error}): start it, or name another"))?;
        found.push(shown);
    }
    Ok(format!("lives at {}", found.join(", ")))
}

/// A store that is not there yet is not made: its folder has to be there for that.
async fn store(settings: &Settings) -> Result<String, String> {
    if settings.store == StoreUrl::Memory {
        return Ok("in memory: tasks are gone when the process ends".to_owned());
    }
    if let StoreUrl::Sqlite(path) = &settings.store
        && !path.exists()
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return match tempfile::tempfile_in(folder) {
            Ok(_) => Ok(format!("{} will be made at the first start", settings.store)),
            Err(error) => {
                Err(format!("{} cannot be made ({error}): make its folder, and let it be written", path.display()))
            }
        };
    }
    let store = open_store(settings).await.map_err(|error| error.to_string())?;
    let (checked, open) = (store.check().await, store.stats().open_tasks);
    store.close().await.map_err(|error| error.to_string())?;
    checked.map_err(|error| error.to_string())?;
    let what = if open == 1 { "1 task is open".to_owned() } else { format!("{open} tasks are open") };
    Ok(format!("{} can be written; {what}, and go on with the next start", settings.store))
}

fn listen(settings: &Settings) -> Result<String, String> {
    match TcpListener::bind(settings.listen) {
        Ok(_) => Ok(format!("{} is free", settings.listen)),
        Err(error) => Err(format!(
            "{} cannot be listened on ({error}): choose another address with --listen, or end what has it",
            settings.listen
        )),
    }
}

fn team(settings: &Settings) -> Result<String, String> {
    let team = Team::of(settings).map_err(|error| error.to_string())?;
    let names: Vec<&str> = team.members.iter().map(|member| member.id.as_str()).collect();
    let documents =
        settings.docs.as_ref().map_or_else(String::new, |docs| format!("; documents in {}", docs.display()));
    let source = settings.team.as_ref().map_or_else(String::new, |file| format!(", by {}", file.display()));
    let warnings: String = team.warnings.iter().map(|warning| format!("; warning: {warning}")).collect();
    Ok(format!("{}{source}{documents}{warnings}", names.join(", ")))
}

//! `callboard team`: writes the default team's files to begin with, checks a team's file as a server would read it, and
//! shows who works in a team and what a task passes there.

use super::args::{TeamCommand, TeamFileArgs, TeamInitArgs, TeamShowArgs};
use super::clean::{clean_json, clean_line};
use super::client::Client;
use super::environment::{Environment, Talk};
use super::exit::{Code, Exit, Outcome};
use super::host::client_command;
use super::output::{note, print};
use super::table::table;
use super::wire::{Team as ShownTeam, TeamAgent, TeamStage};
use callboard::node::{StartError, view};
use callboard::settings::Settings;
use callboard::store::{Clock, SystemClock};
use callboard::team::{Problem, Team, TeamError, default_files};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Runs it.
pub fn team(command: &TeamCommand, environment: &Environment) -> Outcome {
    match command {
        TeamCommand::Init(args) => init(args),
        TeamCommand::Check(args) => check(args, environment),
        TeamCommand::Show(args) => show(args, environment),
    }
}

// === init ===

fn init(args: &TeamInitArgs) -> Outcome {
    let files: Vec<_> = default_files().map(|(path, text)| (args.folder.join(path), text)).collect();
    if let Some((there, _)) = files.iter().find(|(path, _)| path.exists() && !args.force) {
        let message = format!("{} is there already: choose another folder, or say --force", there.display());
        return Err(Exit::new(Code::Failure, message));
    }
    for (path, text) in &files {
        write(path, text).map_err(|error| {
            Exit::new(Code::Failure, format!("{} cannot be written ({error}): check the folder", path.display()))
        })?;
        print(&path.display().to_string())?;
    }
    let team = args.folder.join("team.toml");
    note(&format!("change them, then: callboard team check {}", team.display()));
    Ok(())
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

// === check ===

fn check(args: &TeamFileArgs, environment: &Environment) -> Outcome {
    let settings = settings(args.config.as_deref(), args.file.as_deref(), environment)?;
    let made = Team::of(&settings);
    if args.json {
        print(&report(&made).to_string())?;
    }
    match made {
        Ok(_) if args.json => Ok(()),
        Ok(team) => {
            for warning in &team.warnings {
                note(&format!("warning: {}", clean_line(&warning.to_string())));
            }
            let stages: Vec<_> = team.pipeline.0.iter().map(|stage| stage.capability.as_str()).collect();
            let (agents, stages) = (team.members.len(), stages.join(", "));
            print(&clean_line(&format!("{} can be used: {agents} agents for the stages {stages}", team.source)))
        }
        Err(TeamError::File(error)) => {
            if !args.json {
                error.problems.iter().try_for_each(|problem| print(&clean_line(&problem.to_string())))?;
            }
            let message = match error.problems.len() {
                1 => "one thing in the team is wrong".to_owned(),
                several => format!("{several} things in the team are wrong"),
            };
            Err(Exit::new(Code::Settings, message))
        }
        Err(other) => Err(StartError::from(other).into()),
    }
}

fn report(made: &Result<Team, TeamError>) -> Value {
    let problem =
        |problem: &Problem| json!({"file": &*problem.place.file, "line": problem.place.line, "fault": problem.fault});
    let all = |problems: &[Problem]| problems.iter().map(problem).collect::<Vec<_>>();
    let (problems, warnings) = match made {
        Ok(team) => (Vec::new(), all(&team.warnings)),
        Err(TeamError::File(error)) => (all(&error.problems), Vec::new()),
        Err(other) => (vec![json!({"file": null, "line": null, "fault": other.to_string()})], Vec::new()),
    };
    json!({"ok": problems.is_empty(), "problems": problems, "warnings": warnings})
}

// === show ===

fn show(args: &TeamShowArgs, environment: &Environment) -> Outcome {
    if args.server.is_some() {
        let client = Client::from_choices(args.server.as_deref(), environment)?;
        return client_command(async {
            let team = client.get::<ShownTeam>(&["team"]).await?;
            print(&if args.json { clean_json(&team.text) } else { page(&team.read) })
        });
    }
    let settings = settings(args.config.as_deref(), args.file.as_deref(), environment)?;
    let team = Team::of(&settings).map_err(StartError::from)?;
    let shown = serde_json::to_string(&view(&team, SystemClock::default().now())).map_err(Exit::internal)?;
    if args.json {
        return print(&clean_json(&shown));
    }
    print(&page(&serde_json::from_str(&shown).map_err(Exit::internal)?))
}

fn page(team: &ShownTeam) -> String {
    let described = team.description.as_deref().map_or_else(String::new, |text| format!("\n{}", clean_line(text)));
    let head = format!("{} ({}){described}", clean_line(&team.name), clean_line(&team.source));
    let fault = team.last_reload.as_ref().and_then(|reload| reload.fault.as_ref());
    let fault =
        fault.map_or_else(String::new, |fault| format!("\n\nThe last reload was refused:\n{}", clean_line(fault)));
    let stages =
        table(&["STAGE", "OPTIONAL", "TIME-OUT", "ATTEMPTS"], &team.stages.iter().map(stage).collect::<Vec<_>>());
    let agents = table(
        &["AGENT", "KIND", "CAPABILITIES", "SLOTS", "PROVIDER", "WHAT IT DOES"],
        &team.agents.iter().map(agent).collect::<Vec<_>>(),
    );
    format!("{head}{fault}\n\n{stages}\n\n{agents}")
}

fn stage(stage: &TeamStage) -> Vec<String> {
    let timeout = humantime::format_duration(std::time::Duration::from_millis(stage.limits.timeout_ms));
    let optional = if stage.optional { "yes" } else { "no" };
    vec![clean_line(&stage.capability), optional.into(), timeout.to_string(), stage.limits.max_attempts.to_string()]
}

fn agent(agent: &TeamAgent) -> Vec<String> {
    vec![
        clean_line(&agent.agent_id),
        clean_line(&agent.kind),
        clean_line(&agent.capabilities.join(", ")),
        agent.slots.to_string(),
        clean_line(agent.provider.as_deref().unwrap_or("-")),
        clean_line(&agent.description),
    ]
}

/// The settings, with this team where one is named.
fn settings(config: Option<&Path>, file: Option<&str>, environment: &Environment) -> Result<Settings, Exit> {
    let overrides = file.map(|file| ("team", file.to_owned())).into_iter().collect();
    environment.settings(config, &overrides, Talk::Quiet)
}

//! `callboard agents`: who is alive, what each can do, and how busy it is.

use super::args::ListArgs;
use super::clean::{clean_json, clean_line};
use super::client::Client;
use super::environment::Environment;
use super::exit::Outcome;
use super::host::client_command;
use super::output::print;
use super::table::table;
use super::wire::{Agent, Agents};

/// Runs it.
pub fn agents(args: &ListArgs, environment: &Environment) -> Outcome {
    let client = Client::from_choices(args.server.server.as_deref(), environment)?;
    client_command(async {
        let agents = client.get::<Agents>(&["agents"]).await?;
        print(&if args.server.json { clean_json(&agents.text) } else { rows(&agents.read) })
    })
}

fn rows(agents: &Agents) -> String {
    if agents.agents.is_empty() {
        return "no agent is alive: tasks are taken and wait for one".to_owned();
    }
    let row = |agent: &Agent| {
        vec![
            clean_line(&agent.agent_id),
            clean_line(&agent.capabilities.join(", ")),
            format!("{}/{}", agent.active, agent.slots),
            clean_line(&agent.last_heartbeat),
            clean_line(agent.description.as_deref().unwrap_or_default()),
        ]
    };
    let rows: Vec<_> = agents.agents.iter().map(row).collect();
    table(&["AGENT", "CAPABILITIES", "BUSY", "LAST HEARD OF", "WHAT IT DOES"], &rows)
}

/// The agents, one short line each.
pub fn lines(agents: &Agents) -> Vec<String> {
    let width = agents.agents.iter().map(|agent| clean_line(&agent.agent_id).chars().count()).max().unwrap_or(0);
    let line = |agent: &Agent| {
        let does = agent.description.clone().unwrap_or_else(|| agent.capabilities.join(", "));
        format!("{:width$}  {}", clean_line(&agent.agent_id), clean_line(&does))
    };
    agents.agents.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_stand_in_columns() {
        let agents = serde_json::from_str(
            r#"{"agents": [{"agent_id": "agent-a", "capabilities": ["analyze", "retrieve"], "slots": 4, "active": 1,
                "last_heartbeat": "now", "description": "finds\u0007 things"}]}"#,
        );
        insta::assert_snapshot!(rows(&agents.unwrap()), @r"
        AGENT    CAPABILITIES       BUSY  LAST HEARD OF  WHAT IT DOES
        agent-a  analyze, retrieve  1/4   now            finds� things
        ");
        assert!(rows(&Agents { agents: Vec::new() }).contains("no agent"));
    }
}

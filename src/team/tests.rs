//! A team's file from its text to the team: what counts where, and every fault with its line.

use super::*;
use crate::task::{Limits, TaskId};

const STAGE: &str = "[[stages]]\ncapability = \"think\"\n";
const AGENT: &str = "[[agents]]\nid = \"agent-a\"\ncapabilities = [\"think\"]\n";

fn settings() -> Settings {
    Settings::with(&[("slots", "7"), ("max_attempts", "9")]).unwrap()
}

fn made(text: &str) -> Result<Team, TeamError> {
    Team::from_text(text, "team.toml", &settings(), &Kinds::default())
}

/// The problems as they are told.
fn problems(text: &str) -> Vec<String> {
    match made(text) {
        Err(TeamError::File(error)) => error.problems.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
        Ok(_) => Vec::new(),
    }
}

#[test]
fn the_default_team_is_the_predecessors_four() {
    let team = Team::of(&settings()).unwrap();
    let limits = Limits { max_attempts: 9, ..Limits::default() };
    assert_eq!(team.pipeline, Pipeline::standard(limits));
    assert!(team.warnings.is_empty(), "{:?}", team.warnings);
    let agents: Vec<_> = team.members.iter().map(|member| (member.id.as_str(), &*member.kind, member.slots)).collect();
    let expected = [
        ("agent-analyze", "prompt", 7),
        ("agent-retrieve", "retriever", 7),
        ("agent-evaluate", "prompt", 7),
        ("agent-finalize", "prompt", 7),
    ];
    assert_eq!(agents, expected);
}

#[test]
fn what_an_agent_and_a_stage_choose_counts_before_the_team_and_the_settings() {
    let text = "[limits]\nstep_timeout = \"1m\"\nretry_pause = \"1s\"\n[[stages]]\ncapability = \"think\"\noptional = true\n\
                max_attempts = 1\n[[agents]]\nid = \"agent-a\"\ncapabilities = [\"think\"]\nslots = 2\nprovider = \"mock\"\n\
                profile = \"thinker\"\nstep_timeout = \"30s\"\nmax_attempts = 5\n";
    let team = made(text).unwrap();
    let limits = Limits { max_attempts: 1, timeout_ms: 30_000, backoff_ms: 1_000, ..Limits::default() };
    assert_eq!((team.pipeline.0[0].limits, team.pipeline.0[0].optional), (limits, true));
    let agent = &team.members[0];
    assert_eq!((agent.slots, agent.provider.as_deref(), &*agent.profile), (2, Some("mock"), "thinker"));
}

#[test]
fn each_fault_is_told_with_its_line_and_the_remedy() {
    for (text, told) in [
        ("nmae = \"x\"\n", "1: there is no key \"nmae\" here: did you mean name?"),
        ("name = \n", "1: this is not TOML: "),
        (AGENT, "1: a task has nothing to pass through: add a [[stages]] with a capability"),
        (
            STAGE,
            "1: stage think: no agent can do it: give an agent that capability, or say optional = true; elsewhere = ",
        ),
        (
            &format!("[[stages]]\ncapability = \"thnk\"\n{AGENT}"),
            "1: stage thnk: no agent can do it: did you mean think?",
        ),
        (&format!("{STAGE}optinal = true\n{AGENT}"), "3: stage think: there is no key \"optinal\" here: did you mean "),
        (
            &format!("{STAGE}optional = \"yes\"\n{AGENT}"),
            "3: stage think: optional is to be true or false, not a string",
        ),
        (&format!("{STAGE}[[stages]]\n{AGENT}"), "3: [[stages]]: it needs a capability, such as "),
        (&format!("{STAGE}[[agents]]\n{AGENT}"), "3: [[agents]]: it needs an id, such as "),
        (&format!("{STAGE}[[agents]]\nid = \"agent-b\"\n"), "3: agent agent-b: it can do nothing: write for example "),
        (&format!("{STAGE}[[agents]]\nid = \"a\"\n"), "4: [[agents]]: id: agent_id must have at least 3 characters"),
        (&format!("{STAGE}{AGENT}{AGENT}"), "6: agent agent-a: line 3 has one of that id already: give it another"),
        (&format!("{STAGE}{AGENT}slots = 0\n"), "6: agent agent-a: slots is to be a whole number from 1 to "),
        (&format!("{STAGE}{AGENT}slots = \"4\"\n"), "6: agent agent-a: slots is to be a whole number, not a string"),
        (
            &format!("{STAGE}{AGENT}kind = \"retreiver\"\n"),
            "6: agent agent-a: kind: there is no kind \"retreiver\": did you mean retriever?",
        ),
        (
            &format!("{STAGE}{AGENT}provider = \"gpt\"\n"),
            "6: agent agent-a: provider: there is no provider \"gpt\"; use one of ",
        ),
        (
            &format!("{STAGE}{AGENT}step_timeout = \"soon\"\n"),
            "6: agent agent-a: step_timeout: \"soon\" is no duration",
        ),
        (
            &format!("{STAGE}{AGENT}system_file = \"no/such.j2\"\n"),
            "6: agent agent-a: system_file: no/such.j2 cannot be read (",
        ),
        (
            &format!("{STAGE}{AGENT}docs = \"x\"\n"),
            "3: agent agent-a: docs is for agents of kind \"retriever\", and this is \"prompt\"",
        ),
        (
            &format!("{STAGE}{AGENT}kind = \"retriever\"\ndocs = \"no/such\"\n"),
            "7: agent agent-a: docs: the documents' folder no/such does not exist",
        ),
        (
            &format!("{STAGE}{AGENT}kind = \"retriever\"\nsystem = \"x\"\n"),
            "3: agent agent-a: a prompt is for agents of kind \"prompt\"",
        ),
        (&format!("stages = 1\n{AGENT}"), "1: stages is to be tables, each under [[stages]], not an integer"),
        (&format!("limits = 1\n{STAGE}{AGENT}"), "1: limits is to be a table, [limits], not an integer"),
        (
            &format!("{STAGE}{AGENT}system = '''\nBe good.\n{{{{ objektive }}}}\n'''\n"),
            "8: agent agent-a: the system prompt for think cannot be used: there is no \"objektive\" to show",
        ),
        (
            &format!("{STAGE}{AGENT}user = \"{{% if %}}\"\n"),
            "6: agent agent-a: the user prompt for think cannot be used: syntax error",
        ),
    ] {
        let found = problems(text);
        let wanted = format!("team.toml:{told}");
        assert!(found.iter().any(|problem| problem.starts_with(&wanted)), "{wanted}\n{found:#?}");
    }
}

#[test]
fn a_stage_of_agents_elsewhere_needs_none_here_and_stays_mandatory() {
    let other = AGENT.replace("think", "write");
    let team = made(&format!("{STAGE}elsewhere = true\n[[stages]]\ncapability = \"write\"\n{other}")).unwrap();
    assert_eq!((team.pipeline.0.len(), team.pipeline.0[0].optional, team.members.len()), (2, false, 1));
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_their_lines() {
    let text = format!("{AGENT}slots = 0\nkind = 3\n{STAGE}optional = 1\n");
    let lines: Vec<_> = problems(&text).iter().map(|told| told.split(':').nth(1).unwrap().to_owned()).collect();
    assert_eq!(lines, ["4", "5", "8"]);
}

#[test]
fn agents_of_one_stage_must_agree_on_its_limits() {
    let second = AGENT.replace("agent-a", "agent-b");
    let quarrel = format!("{STAGE}{AGENT}max_attempts = 1\n{second}max_attempts = 2\n");
    assert_eq!(
        problems(&quarrel),
        [
            "team.toml:7: agent agent-b: its max_attempts differs from agent-a's, who can do think too: a stage has one, so \
          write it under that stage"
        ]
    );
    assert!(problems(&quarrel.replace("= 2", "= 1")).is_empty());
}

#[test]
fn a_capability_without_a_stage_is_a_warning() {
    let team = made(&format!("{STAGE}{AGENT}{}", AGENT.replace("-a", "-b").replace("think", "thinks"))).unwrap();
    let told: Vec<_> = team.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["team.toml:6: agent agent-b: no stage asks for thinks: did you mean think?"]);
}

#[test]
fn a_team_read_again_has_its_documents_read_already() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.md"), "# A\n\nWords.\n").unwrap();
    let settings = Settings::with(&[("docs", folder.path().to_str().unwrap())]).unwrap();
    let team = Team::of(&settings).unwrap();
    let again = team.again(&settings, &Kinds::default()).unwrap();
    let retriever = |team: &Team| team.libraries.0.values().next().unwrap().clone();
    assert!(Arc::ptr_eq(&retriever(&team), &retriever(&again)));
}

#[test]
fn a_plan_of_a_team_is_a_chain_of_its_stages() {
    let text = format!("{STAGE}{STAGE}{AGENT}");
    let plan = made(&text).unwrap().pipeline.plan(&TaskId::trusted("t-1")).unwrap();
    let steps: Vec<_> = plan.steps().iter().map(|step| (step.id.as_str(), step.needs.len())).collect();
    assert_eq!(steps, [("t-1-P1", 0), ("t-1-P2", 1)]);
    let many = format!("{}{AGENT}", STAGE.repeat(crate::task::MAX_STEPS + 1));
    assert_eq!(problems(&many), ["team.toml:1: a plan has at most 1000 steps, not 1001: take stages out"]);
}

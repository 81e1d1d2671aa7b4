//! A task's steps as they happen, one line each: moving lines where standard error is a terminal, plain ones where it is
//! not. What the lines say is decided by [`Board`], which prints nothing.

use super::clean::clean_line;
use super::output::note;
use super::wire::{TaskEvent, between, moment, span};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

/// One step's line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    sub_id: String,
    stage: String,
    says: String,
    /// When its present attempt began.
    placed_at: String,
    ended: bool,
}

/// What each step's line says now.
#[derive(Debug, Default)]
struct Board {
    lines: Vec<Line>,
}

/// What an event changes.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// All lines are there.
    Begun,
    /// This line says something else.
    Line(usize),
    /// Nothing that is shown.
    Nothing,
}

impl Board {
    fn apply(&mut self, event: &TaskEvent) -> Change {
        if let Some(plan) = &event.plan {
            let line = |step: &super::wire::Planned| Line {
                sub_id: step.sub_id.clone(),
                stage: clean_line(&step.stage),
                says: "waiting".to_owned(),
                placed_at: String::new(),
                ended: false,
            };
            self.lines = plan.iter().map(line).collect();
            return Change::Begun;
        }
        let Some(at) = self.lines.iter().position(|line| Some(&line.sub_id) == event.sub_id.as_ref()) else {
            return Change::Nothing;
        };
        let line = &mut self.lines[at];
        let Some(says) = says(event, line) else { return Change::Nothing };
        line.says = clean_line(&says);
        line.ended = matches!(event.kind.as_str(), "step_succeeded" | "step_failed" | "step_skipped");
        if event.kind == "step_placed" {
            line.placed_at.clone_from(&event.at);
        }
        Change::Line(at)
    }

    fn width(&self) -> usize {
        self.lines.iter().map(|line| line.stage.chars().count()).max().unwrap_or(0)
    }
}

/// What a step's line says after an event; none when the event changes nothing of it.
fn says(event: &TaskEvent, line: &Line) -> Option<String> {
    let agent = event.agent_id.as_deref().unwrap_or("an agent");
    let attempt = event.attempt.unwrap_or(1);
    let error = event.error.as_ref().map_or("", |error| error.message.as_str());
    Some(match event.kind.as_str() {
        "step_queued" if event.agent_absent == Some(true) => "waiting: no agent for it is alive".to_owned(),
        "step_queued" => "waiting for a free slot".to_owned(),
        "step_placed" => format!("{agent}, attempt {attempt}"),
        "attempt_ended" => {
            let outcome = event.outcome.as_deref().unwrap_or("ended").replace('_', " ");
            format!("attempt {attempt}: {outcome}{}{error}", if error.is_empty() { "" } else { ": " })
        }
        "step_backed_off" => {
            let until = event.until.as_deref().unwrap_or_default();
            let pause = between(&event.at, until).map_or_else(|| "later".to_owned(), |ms| format!("in {}", span(ms)));
            format!("{}; again {pause}", line.says)
        }
        "step_succeeded" => {
            let took = moment(&line.placed_at).and_then(|_| between(&line.placed_at, &event.at));
            let took = took.map_or_else(String::new, |ms| format!(" in {}", span(ms)));
            format!("done{took} by {agent}, attempt {attempt}")
        }
        "step_failed" => format!("failed: {error}"),
        "step_skipped" => format!("skipped: {}", event.reason.as_deref().unwrap_or_default()),
        _ => return None,
    })
}

/// Shows the board.
pub struct Progress {
    board: Board,
    /// None where lines cannot move.
    screen: Option<Screen>,
}

struct Screen {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Progress {
    /// A board that is still empty.
    pub fn new() -> Self {
        let screen = can_move().then(|| Screen { all: MultiProgress::new(), bars: Vec::new() });
        Self { board: Board::default(), screen }
    }

    /// Shows what an event changes.
    pub fn show(&mut self, event: &TaskEvent) {
        let change = self.board.apply(event);
        let width = self.board.width();
        match (&mut self.screen, change) {
            (_, Change::Nothing) | (None, Change::Begun) => {}
            (None, Change::Line(at)) => {
                let line = &self.board.lines[at];
                note(&format!("{:width$}  {}", line.stage, line.says));
            }
            (Some(screen), Change::Begun) => screen.begin(&self.board),
            (Some(screen), Change::Line(at)) => screen.update(at, &self.board.lines[at]),
        }
    }

    /// Leaves the lines as they are.
    pub fn end(&self) {
        let bars = self.screen.iter().flat_map(|screen| &screen.bars);
        bars.filter(|bar| !bar.is_finished()).for_each(ProgressBar::abandon);
    }
}

impl Screen {
    fn begin(&mut self, board: &Board) {
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
        let width = board.width();
        let bar = |line: &Line| {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.set_style(style());
            bar.set_prefix(format!("{:width$}", line.stage));
            bar.set_message(line.says.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        };
        self.bars = board.lines.iter().map(bar).collect();
    }

    fn update(&self, at: usize, line: &Line) {
        let Some(bar) = self.bars.get(at) else { return };
        bar.set_message(line.says.clone());
        if line.ended {
            bar.finish();
        }
    }
}

/// Whether lines may move: standard error is a terminal that knows how.
fn can_move() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_spinner()).tick_strings(&["·", "•", "●", "•", "✓"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(value: serde_json::Value) -> TaskEvent {
        serde_json::from_value(value).unwrap()
    }

    fn board(events: &[serde_json::Value]) -> Vec<String> {
        let mut board = Board::default();
        board.apply(&event(json!({"kind": "planned", "plan": [
            {"sub_id": "t-P1", "stage": "analyze"}, {"sub_id": "t-P2", "stage": "retrieve"}]})));
        let mut said = Vec::new();
        for value in events {
            if let Change::Line(at) = board.apply(&event(value.clone())) {
                said.push(format!("{}: {}", board.lines[at].stage, board.lines[at].says));
            }
        }
        said
    }

    #[test]
    fn a_line_tells_a_steps_life() {
        let said = board(&[
            json!({"kind": "step_queued", "sub_id": "t-P1", "agent_absent": true}),
            json!({"kind": "step_placed", "sub_id": "t-P1", "agent_id": "agent-1", "attempt": 1, "at": "2024-01-01T00:00:00Z"}),
            json!({"kind": "attempt_ended", "sub_id": "t-P1", "attempt": 1, "outcome": "retryable_failure",
                "error": {"code": "internal_error", "message": "no\u{1b}[2J luck"}}),
            json!({"kind": "step_backed_off", "sub_id": "t-P1", "at": "2024-01-01T00:00:00Z", "until": "2024-01-01T00:00:00.4Z"}),
            json!({"kind": "step_placed", "sub_id": "t-P1", "agent_id": "agent-1", "attempt": 2, "at": "2024-01-01T00:00:01Z"}),
            json!({"kind": "step_succeeded", "sub_id": "t-P1", "agent_id": "agent-1", "attempt": 2, "at": "2024-01-01T00:00:01.25Z"}),
            json!({"kind": "step_skipped", "sub_id": "t-P2", "reason": "no agent"}),
            json!({"kind": "task_succeeded"}),
        ]);
        insta::assert_snapshot!(said.join("\n"), @r"
        analyze: waiting: no agent for it is alive
        analyze: agent-1, attempt 1
        analyze: attempt 1: retryable failure: no�[2J luck
        analyze: attempt 1: retryable failure: no�[2J luck; again in 400 ms
        analyze: agent-1, attempt 2
        analyze: done in 250 ms by agent-1, attempt 2
        retrieve: skipped: no agent
        ");
    }

    #[test]
    fn events_of_other_kinds_change_nothing() {
        assert!(
            board(&[json!({"kind": "new_one", "sub_id": "t-P1"}), json!({"kind": "step_placed", "sub_id": "x"})])
                .is_empty()
        );
    }
}

//! Where a step goes: a few agents with a free slot are drawn, and the best of them is taken. Who rests is left out, until
//! it is due to be tried, or until there is nobody else.

use super::super::id::{AgentId, At, Capability, Incarnation};
use super::super::plan::mix;
use super::Fleet;
use super::member::Member;
use super::reason::{Grounds, How};
use super::score::Score;
use super::trade::Trade;
use std::sync::Arc;

/// How many agents are drawn. With two of them a bad one is still chosen beside a full one more often than need be; what
/// four or more of them gain is little (`tests/routing_simulation`), and masters that know the same would choose the same.
const DRAWN: usize = 3;

/// A step that needs an agent.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// What the agent must be able to do.
    pub capability: &'a Capability,
    /// Who had the step before and did not do it.
    pub had_it: &'a [AgentId],
    /// Slots promised in the decision under way, each by its agent.
    pub promised: &'a [AgentId],
    /// Now.
    pub now: At,
    /// Who is drawn.
    pub seed: u64,
}

/// Where a step goes, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The agent.
    pub agent: AgentId,
    /// Which life of it.
    pub incarnation: Incarnation,
    /// In words, for the log.
    pub reason: Arc<str>,
}

/// An agent that could take the step.
struct Candidate<'a> {
    agent: &'a AgentId,
    member: &'a Member,
    score: Score,
    value: f64,
}

impl Fleet {
    /// The agent for a step, if any has a free slot for it. One whose rest is over is tried before all others, or it
    /// would rest for ever beside them, but not with a step that it had before. When all rest, whose rest ends first is
    /// tried at once: nobody is spared by waiting, and it is still one step at a time.
    pub fn choose(&self, wanted: &Wanted<'_>) -> Option<Choice> {
        let trade = self.trades.get(wanted.capability)?;
        let chosen = self
            .due(trade, wanted)
            .filter(|candidate| !candidate.score.had_it)
            .map(|candidate| (candidate, How::Due))
            .or_else(|| self.best_of_drawn(trade, wanted))
            .or_else(|| Some((self.due(trade, wanted)?, How::Due)))
            .or_else(|| Some((self.least_bad(trade, wanted)?, How::LeastBad)));
        let (Candidate { agent, member, score, value }, how) = chosen?;
        let reason = self.reasons.lock().of(Grounds::new(&score, value, how));
        Some(Choice { agent: agent.clone(), incarnation: member.incarnation.clone(), reason })
    }

    /// Every live agent for a capability with its score, in order of their names, whether or not it has a free slot.
    pub fn scores(&self, capability: &Capability, now: At) -> Vec<(AgentId, f64)> {
        let Some(trade) = self.trades.get(capability) else { return Vec::new() };
        let able = self.members.iter().filter(|(_, member)| member.capabilities.contains(capability));
        let score = |member: &Member| Score::of(member, member.free(), capability, trade.pace, now, false).value();
        let mut scores: Vec<_> = able.map(|(agent, member)| (agent.clone(), score(member))).collect();
        scores.sort_by(|(one, _), (other, _)| one.cmp(other));
        scores
    }

    fn candidate<'a>(&'a self, trade: &Trade, wanted: &Wanted<'_>, agent: &'a AgentId) -> Option<Candidate<'a>> {
        let member = self.members.get(agent)?;
        let promised = wanted.promised.iter().filter(|other| *other == agent).count() as u32;
        let is_tried = member.record.rest.is_some() && promised > 0;
        let free = member.free().checked_sub(promised).filter(|free| *free > 0 && !is_tried)?;
        let had_it = wanted.had_it.contains(agent);
        let score = Score::of(member, free, wanted.capability, trade.pace, wanted.now, had_it);
        Some(Candidate { agent, member, score, value: score.value() })
    }

    /// Whose rest is over; one that had the step before only where all of them had.
    fn due<'a>(&'a self, trade: &'a Trade, wanted: &Wanted<'_>) -> Option<Candidate<'a>> {
        let due = || trade.due(wanted.now).filter_map(|agent| self.candidate(trade, wanted, agent));
        due().find(|candidate| !candidate.score.had_it).or_else(|| due().next())
    }

    fn least_bad<'a>(&'a self, trade: &'a Trade, wanted: &Wanted<'_>) -> Option<Candidate<'a>> {
        let resting = || trade.resting.iter().filter_map(|(_, agent)| self.candidate(trade, wanted, agent));
        let chosen = || resting().find(|candidate| !candidate.score.had_it).or_else(|| resting().next());
        trade.all_rest().then(chosen)?
    }

    /// The best of a few agents that are drawn from those with a free slot.
    fn best_of_drawn<'a>(&'a self, trade: &'a Trade, wanted: &Wanted<'_>) -> Option<(Candidate<'a>, How)> {
        let count = trade.ready.len();
        // Whoever had the step, or has promised its slots, is drawn without counting.
        let most = DRAWN + wanted.had_it.len() + wanted.promised.len();
        let mut best: Option<Candidate<'_>> = None;
        let mut of = 0;
        for number in draws(count, wanted.seed).take(most) {
            let Some(candidate) = trade.ready.get(number).and_then(|agent| self.candidate(trade, wanted, agent)) else {
                continue;
            };
            of += usize::from(!candidate.score.had_it);
            if best.as_ref().is_none_or(|best| candidate.value > best.value) {
                best = Some(candidate);
            }
            if of == DRAWN {
                break;
            }
        }
        best.map(|best| (best, How::Best { of: of.max(1), free: count }))
    }
}

/// The numbers below a count, each once: the first is drawn, and the others follow from a second draw onwards.
fn draws(count: usize, seed: u64) -> impl Iterator<Item = usize> {
    let below = |draw: u64, count: usize| if count == 0 { 0 } else { (draw % count as u64) as usize };
    let first = below(mix(seed), count);
    let others = count.saturating_sub(1);
    let second = below(mix(seed ^ u64::MAX), others);
    let other = move |step: usize| (first + 1 + (second + step) % others) % count;
    (count > 0).then_some(first).into_iter().chain((0..others).map(other))
}

//! Finding tasks by what no index holds: who worked on them, when they came, what was asked. It reads the list in its order
//! and a bounded part of it at a time, so that no question holds a store up.

use super::{ListPage, ListQuery, Listed, Store, StoreError};
use crate::task::{AgentId, At, Payload, Request, Task};

/// How much of the list one search looks at; the page's cursor goes on from there.
const MAX_LOOKED_AT: usize = 5_000;
/// How many tasks it reads whole.
const MAX_READ: usize = 500;
/// How much of the list is read at once.
const CHUNK: usize = 500;
/// How far the order of acceptance and the clock may be apart, in milliseconds: masters' clocks differ and are set.
const SKEW_MS: u64 = 3_600_000;

/// What a task must be to be found; what says nothing excludes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// It was assigned a step.
    pub agent: Option<AgentId>,
    /// It was accepted then or later.
    pub since: Option<At>,
    /// It was accepted before.
    pub until: Option<At>,
    /// Its objective contains this, whatever the case.
    pub text: Option<String>,
}

impl Filter {
    /// Whether it excludes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What became of a look at one task.
enum Look {
    Found,
    Other,
    /// It has to be read for that, and enough have been.
    Enough,
}

/// One page of the tasks that a query lists and a filter lets pass, newest first. A page may be short, and even empty, and
/// yet have a next one: then no more was looked at.
///
/// # Errors
/// [`StoreError`], as [`Store::list`].
pub async fn search(store: &dyn Store, query: ListQuery, filter: &Filter) -> Result<ListPage, StoreError> {
    if filter.is_empty() {
        return store.list(query).await;
    }
    let wanted = query.limit;
    let words = filter.text.as_ref().map(|text| text.to_lowercase());
    let mut query = ListQuery { limit: CHUNK, ..query };
    let (mut found, mut looked_at, mut reads) = (Vec::new(), 0, 0);
    loop {
        let page = store.list(query.clone()).await?;
        for listed in page.tasks {
            if filter.since.is_some_and(|since| listed.accepted_at.plus(SKEW_MS) < since) {
                return Ok(ListPage { tasks: found, next: None });
            }
            match look(store, &listed, filter, words.as_deref(), &mut reads).await? {
                Look::Found => {
                    query.before = Some(listed.place);
                    found.push(listed);
                }
                Look::Other => query.before = Some(listed.place),
                Look::Enough => return Ok(ListPage { tasks: found, next: query.before }),
            }
            looked_at += 1;
            if found.len() == wanted || looked_at == MAX_LOOKED_AT {
                return Ok(ListPage { tasks: found, next: query.before });
            }
        }
        if page.next.is_none() {
            return Ok(ListPage { tasks: found, next: None });
        }
    }
}

async fn look(
    store: &dyn Store,
    listed: &Listed,
    filter: &Filter,
    words: Option<&str>,
    reads: &mut usize,
) -> Result<Look, StoreError> {
    let is_in_time = filter.since.is_none_or(|since| listed.accepted_at >= since)
        && filter.until.is_none_or(|until| listed.accepted_at < until);
    // What a list shows of an objective is its beginning.
    let says_it = words.is_none_or(|words| listed.summary.to_lowercase().contains(words));
    let may_say_it = says_it || listed.summary.ends_with('…');
    if !is_in_time || !may_say_it {
        return Ok(Look::Other);
    }
    if says_it && filter.agent.is_none() {
        return Ok(Look::Found);
    }
    if *reads == MAX_READ {
        return Ok(Look::Enough);
    }
    *reads += 1;
    // Removed meanwhile.
    let Some(task) = store.load(&listed.key).await? else { return Ok(Look::Other) };
    let worked = |agent: &AgentId| {
        let attempts = task.plan.indices().flat_map(|index| &task.step(index).1.attempts);
        attempts.into_iter().any(|attempt| attempt.agent == *agent)
    };
    if !filter.agent.as_ref().is_none_or(worked) {
        return Ok(Look::Other);
    }
    let is_found = match words {
        Some(words) if !says_it => {
            objective(store, &task).await?.is_some_and(|text| text.to_lowercase().contains(words))
        }
        _ => true,
    };
    Ok(if is_found { Look::Found } else { Look::Other })
}

async fn objective(store: &dyn Store, task: &Task) -> Result<Option<std::sync::Arc<str>>, StoreError> {
    let json = match &task.request {
        Payload::Inline(json) => Some(json.clone()),
        Payload::Stored { name, .. } => store.payload(&task.key, name).await?,
    };
    Ok(json.and_then(|json| json.parse::<Request>().ok()).map(|request| request.objective))
}

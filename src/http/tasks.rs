//! `GET /tasks`: the caller's tasks, newest first, page by page, all or those that a filter lets pass. A page never
//! shifts: its cursor is a place in the order of acceptance, which nothing changes.

use super::auth::Caller;
use super::error::ApiError;
use super::refusals::{Guarded, Invalid, Stored};
use super::request::{Params, task_path};
use super::time::{moment, rfc3339};
use super::{Api, resource};
use crate::store::{Filter, ListQuery, Listed, StoreError, search};
use crate::task::{AgentId, InvalidId, Priority, Status, TaskId, Tenant};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;
/// The longest text that is looked for, in characters.
const MAX_TEXT: usize = 200;
/// How long a search may take; it looks at a bounded part of the list.
const SEARCH_WITHIN: Duration = Duration::from_secs(30);
/// What a query may say.
const PARAMETERS: [&str; 9] = ["status", "state", "tenant", "agent", "since", "until", "text", "limit", "cursor"];

/// What a cursor begins with, so that an id or a number of the client's own is not taken for one.
const CURSOR: &str = "c1-";

/// What `GET /tasks` may be asked, for its description. Each stands once, and no other does.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the handler reads them by name, to tell what is wrong with each")]
pub(super) struct Asked {
    /// Only tasks that stand so.
    #[param(inline)]
    status: Option<Status>,
    /// Another name of `status`.
    #[param(inline)]
    state: Option<Status>,
    /// Only this tenant's, which is none when it is not the caller's own.
    #[param(inline)]
    tenant: Option<Tenant>,
    /// Only tasks of which a step was assigned to this agent.
    #[param(inline)]
    agent: Option<AgentId>,
    /// Only tasks that were accepted at this moment or later.
    #[param(format = DateTime, example = "2026-11-24T08:00:00Z")]
    since: Option<String>,
    /// Only tasks that were accepted before this moment.
    #[param(format = DateTime, example = "2026-11-25T08:00:00Z")]
    until: Option<String>,
    /// Only tasks whose objective contains this, whatever the case.
    #[param(min_length = 1, max_length = 200, pattern = r"\S")]
    text: Option<String>,
    /// How many tasks a page has; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before.
    #[param(pattern = "^c1-[0-9a-f]{1,16}$")]
    cursor: Option<String>,
}

/// A part of the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskPage)]
struct Page<'a> {
    tasks: Vec<Entry<'a>>,
    /// What `?cursor=` takes for the next page; null on the last.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A task in the list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TaskEntry)]
struct Entry<'a> {
    #[schema(value_type = TaskId)]
    task_id: &'a str,
    status: Status,
    /// The objective's beginning.
    summary: &'a str,
    priority: Priority,
    #[schema(format = DateTime)]
    accepted_at: String,
    #[schema(format = DateTime)]
    updated_at: String,
    /// Where the whole task is.
    #[serde(rename = "self")]
    itself: String,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/tasks", "GET").route(web::get().to(list)));
}

/// A page of the caller's tasks, newest first, all or those that a filter lets pass
///
/// A page never shifts: its cursor is a place in the order of acceptance, which nothing changes. A page may have fewer
/// tasks than its limit, or none, and still a next one: a search looks at a bounded part of the list.
#[utoipa::path(get, path = "/tasks", tag = "tasks", operation_id = "list_tasks", params(Asked),
    responses((status = OK, description = "The page", body = Page<'static>), Guarded, Invalid, Stored))]
pub(super) async fn list(caller: Caller, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let params = Params::only(&request, &PARAMETERS)?;
    let filter = filter(&params)?;
    let Some(query) = query(caller, &params)? else {
        return Ok(HttpResponse::Ok().json(Page { tasks: Vec::new(), next_cursor: None }));
    };
    let searched = tokio::time::timeout(SEARCH_WITHIN, search(&*api.store, query, &filter)).await;
    let page = searched.map_err(|_| StoreError::Unavailable("the search took too long".into()))??;
    let tasks = page.tasks.iter().map(entry).collect();
    let next_cursor = page.next.map(|place| format!("{CURSOR}{place:x}"));
    Ok(HttpResponse::Ok().json(Page { tasks, next_cursor }))
}

/// What to list; none when nothing can be: what is another tenant's nobody may see.
fn query(caller: Caller, params: &Params) -> Result<Option<ListQuery>, ApiError> {
    let status = |name| {
        let status = params.get(name).map(str::parse::<Status>).transpose();
        status.map_err(|unknown| ApiError::invalid(name, unknown.to_string()))
    };
    let (status, state) = (status("status")?, status("state")?);
    let limit = match params.get("limit").map(str::parse) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => return Err(ApiError::invalid("limit", format!("limit must be from 1 to {MAX_LIMIT}"))),
    };
    let before = params.get("cursor").map(place).transpose()?;
    let tenant = params.get("tenant").map(|text| parsed("tenant", text, Tenant::parse)).transpose()?;
    let is_own = tenant.is_none_or(|tenant| tenant == caller.tenant);
    // Both names narrow the list, as every parameter does: no task stands in two ways.
    let is_one = status.is_none() || state.is_none() || status == state;
    let status = status.or(state);
    Ok((is_own && is_one).then_some(ListQuery { tenant: Some(caller.tenant), status, before, limit }))
}

fn filter(params: &Params) -> Result<Filter, ApiError> {
    let moment = |name| params.get(name).map(|text| moment(name, text)).transpose();
    let text = params.get("text");
    if text.is_some_and(|text| text.trim().is_empty() || text.chars().count() > MAX_TEXT) {
        return Err(ApiError::invalid(
            "text",
            format!("text must have from 1 to {MAX_TEXT} characters, or be left out"),
        ));
    }
    Ok(Filter {
        agent: params.get("agent").map(|text| parsed("agent", text, AgentId::parse)).transpose()?,
        since: moment("since")?,
        until: moment("until")?,
        text: text.map(|text| text.trim().to_owned()),
    })
}

fn parsed<T>(name: &str, text: &str, parse: fn(&str) -> Result<T, InvalidId>) -> Result<T, ApiError> {
    parse(text).map_err(|error| ApiError::invalid(name, format!("{name}: {error}")))
}

fn place(cursor: &str) -> Result<u64, ApiError> {
    let place = cursor.strip_prefix(CURSOR).and_then(|place| u64::from_str_radix(place, 16).ok());
    place.ok_or_else(|| ApiError::invalid("cursor", "cursor must be a next_cursor from an earlier page, or left out"))
}

fn entry(listed: &Listed) -> Entry<'_> {
    Entry {
        task_id: listed.key.id.as_str(),
        status: listed.status,
        summary: &listed.summary,
        priority: listed.priority,
        accepted_at: rfc3339(listed.accepted_at),
        updated_at: rfc3339(listed.updated_at),
        itself: task_path(&listed.key.id),
    }
}

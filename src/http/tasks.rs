//! `GET /tasks`: the caller's tasks, newest first, page by page. A page never shifts: its cursor is a place in the order
//! of acceptance, which nothing changes.

use super::auth::Caller;
use super::error::ApiError;
use super::request::{Params, task_path};
use super::time::rfc3339;
use super::{Api, resource};
use crate::store::{ListQuery, Listed};
use crate::task::{Priority, Status};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// What a cursor begins with, so that an id or a number of the client's own is not taken for one.
const CURSOR: &str = "c1-";

#[derive(Debug, Serialize)]
struct Page<'a> {
    tasks: Vec<Entry<'a>>,
    /// What `?cursor=` takes for the next page; null on the last.
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    task_id: &'a str,
    status: &'static str,
    summary: &'a str,
    priority: Priority,
    accepted_at: String,
    updated_at: String,
    #[serde(rename = "self")]
    itself: String,
}

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/tasks", "GET").route(web::get().to(list)));
}

async fn list(caller: Caller, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let page = api.store.list(query(caller, &Params::of(&request)?)?).await?;
    let tasks = page.tasks.iter().map(entry).collect();
    let next_cursor = page.next.map(|place| format!("{CURSOR}{place:x}"));
    Ok(HttpResponse::Ok().json(Page { tasks, next_cursor }))
}

fn query(caller: Caller, params: &Params) -> Result<ListQuery, ApiError> {
    let status = params.get("status").or_else(|| params.get("state"));
    let status = status.map(str::parse::<Status>).transpose();
    let status = status.map_err(|unknown| ApiError::invalid("status", unknown.to_string()))?;
    let limit = match params.get("limit").map(str::parse) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => return Err(ApiError::invalid("limit", format!("limit must be from 1 to {MAX_LIMIT}"))),
    };
    let before = params.get("cursor").map(place).transpose()?;
    Ok(ListQuery { tenant: Some(caller.tenant), status, before, limit })
}

fn place(cursor: &str) -> Result<u64, ApiError> {
    let place = cursor.strip_prefix(CURSOR).and_then(|place| u64::from_str_radix(place, 16).ok());
    place.ok_or_else(|| ApiError::invalid("cursor", "cursor must be a next_cursor from an earlier page, or left out"))
}

fn entry(listed: &Listed) -> Entry<'_> {
    Entry {
        task_id: listed.key.id.as_str(),
        status: listed.status.name(),
        summary: &listed.summary,
        priority: listed.priority,
        accepted_at: rfc3339(listed.accepted_at),
        updated_at: rfc3339(listed.updated_at),
        itself: task_path(&listed.key.id),
    }
}

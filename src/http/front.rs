//! What every request passes, whatever its route: a panic becomes the 500 envelope, and one line in the log and one
//! count in the metrics say how it went. No body, query or header is ever logged.

use super::error::ApiError;
use super::request::Concerns;
use super::{Route, Site};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// How a request went.
struct Line {
    method: &'static str,
    route: &'static str,
    status: u16,
    started: Instant,
}

/// Calls the rest of the app. The request is not kept meanwhile: the router needs it for itself alone.
pub(super) async fn front<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let method = known_method(request.method());
    let site = request.app_data::<web::Data<Site>>().cloned();
    let answered = AssertUnwindSafe(async move { next.call(request).await }).catch_unwind().await;
    let answered = answered.unwrap_or_else(|panic| Err(ApiError::internal(panic_text(&*panic)).into()));
    let status = match &answered {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let route = answered.as_ref().ok().and_then(|response| response.request().app_data::<Route>());
    let route = route.map_or("none", |route| route.0);
    let line = Line { method, route, status: status.as_u16(), started };
    match &answered {
        Ok(response) => {
            let concerns = response.request().extensions().get::<Concerns>().map(|concerns| concerns.0.to_string());
            line.write(concerns.as_deref(), response.response().error());
        }
        Err(error) => line.write(None, Some(error)),
    }
    let Some(site) = site else { return answered.map(ServiceResponse::map_into_boxed_body) };
    site.metrics.answered(method, route, line.status, started.elapsed());
    answered.map(|mut response| {
        if site.readiness.is_draining() {
            // The client's next request should find another process.
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
        response.map_into_boxed_body()
    })
}

/// The method's name; one of a client's own making must not become a time series of its own.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

impl Line {
    fn write(&self, task: Option<&str>, error: Option<&Error>) {
        let Self { method, route, status, started } = *self;
        let ms = started.elapsed().as_millis() as u64;
        let reason = error.map(|error| match error.as_error::<ApiError>() {
            Some(error) => error.for_the_log().to_owned(),
            None => error.to_string(),
        });
        let reason = reason.as_deref();
        match (status, route) {
            (500.., _) => tracing::error!(method, route, status, ms, task, reason, "request"),
            // Probes come every few seconds.
            (400.., "/health" | "/ready" | "/metrics") => tracing::debug!(method, route, status, ms, reason, "request"),
            (400.., _) => tracing::info!(method, route, status, ms, task, reason, "request"),
            // The metrics count them; a line each would cost more than the rest of a small request.
            _ => tracing::debug!(method, route, status, ms, task, "request"),
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&'static str>().copied();
    let words = literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", words.unwrap_or("without words"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::run;
    use actix_web::middleware::from_fn;
    use actix_web::{App, HttpResponse, HttpServer};

    async fn boom() -> HttpResponse {
        tokio::task::yield_now().await;
        panic!("with a secret")
    }

    #[test]
    fn a_panic_is_answered_with_the_envelope_and_the_connection_lives() {
        run(async {
            let app = || {
                let fine = web::get().to(HttpResponse::Ok);
                App::new().route("/boom", web::get().to(boom)).route("/fine", fine).wrap(from_fn(front))
            };
            let server = HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
            let base = format!("http://{}", server.addrs()[0]);
            let server = server.run();
            let calls = async {
                let client = reqwest::Client::builder().no_proxy().build().unwrap();
                for _ in 0..3 {
                    let answer = client.get(format!("{base}/boom")).send().await.unwrap();
                    assert_eq!(answer.status(), 500);
                    let body: serde_json::Value = answer.json().await.unwrap();
                    assert_eq!(body["code"], "internal_error");
                    assert!(!body.to_string().contains("secret"));
                    assert_eq!(client.get(format!("{base}/fine")).send().await.unwrap().status(), 200);
                }
            };
            // Dropping the server afterwards ends it.
            futures_util::future::select(std::pin::pin!(calls), server).await;
        })
        .unwrap();
    }
}

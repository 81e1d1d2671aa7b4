//! The edge by which it is found out that a process is gone: `GET /watch`, an answer that lasts for as long as the process
//! does, half a minute at most; and a knock at its door, which the machine answers when the process cannot.

use super::client::Call;
use super::work::WorkEdge;
use crate::http::auth::Colleague;
use crate::http::{Site, resource};
use crate::messages::{CallContext, CallError, Edge, Knock, Presence, Watch};
use actix_web::{HttpResponse, web};
use futures_util::future::BoxFuture;
use futures_util::stream;
use reqwest::Method;
use std::io;
use std::time::Duration;
use tokio::sync::watch;

/// How long one watch lasts: whoever watches asks anew, which shows at both ends that the other is still there.
const AT_A_STRETCH: Duration = Duration::from_secs(30);
/// How long a machine may take to say that nothing listens.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(2);

// === Sending ===

impl Edge<Watch> for WorkEdge {
    fn call(&self, _: Watch, context: CallContext) -> BoxFuture<'static, Result<(), CallError>> {
        let (client, peers, is_allowed) = self.way();
        let call = Call::new(Method::GET, "watch", &context);
        Box::pin(async move {
            if !is_allowed {
                return Err(CallError::Unavailable);
            }
            // Read to its end, which is the whole answer.
            client.send(&peers, call).await.map(|_| ())
        })
    }
}

impl Edge<Knock> for WorkEdge {
    fn call(&self, _: Knock, _: CallContext) -> BoxFuture<'static, Result<Presence, CallError>> {
        let (client, peers, is_allowed) = self.way();
        Box::pin(async move {
            if !is_allowed {
                return Err(CallError::Unavailable);
            }
            let answered = tokio::time::timeout(KNOCK_TIMEOUT, client.knock(&peers)).await;
            Ok(match answered {
                Ok(Ok(())) => Presence::Listens,
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Presence::Refuses,
                Ok(Err(_)) | Err(_) => Presence::Unknown,
            })
        })
    }
}

// === Receiving ===

pub(in crate::http) fn configure(config: &mut web::ServiceConfig) {
    config.service(resource("/watch", "GET").route(web::get().to(be_watched)));
}

/// What is still to be sent to one who watches.
enum Stage {
    Greeting,
    Lasting,
}

async fn be_watched(_colleague: Colleague, site: web::Data<Site>) -> HttpResponse {
    let begin = (Stage::Greeting, site.readiness.watch());
    let body = stream::unfold(begin, |(stage, mut draining): (Stage, watch::Receiver<bool>)| async move {
        match stage {
            // At once, so that the head goes out.
            Stage::Greeting => {
                let chunk: Result<_, std::convert::Infallible> = Ok(web::Bytes::from_static(b"watched\n"));
                Some((chunk, (Stage::Lasting, draining)))
            }
            Stage::Lasting => {
                // One that drains would otherwise wait for those who wait for its end.
                let _ = tokio::time::timeout(AT_A_STRETCH, draining.wait_for(|is_draining| *is_draining)).await;
                None
            }
        }
    });
    HttpResponse::Ok().content_type("text/plain").streaming(body)
}

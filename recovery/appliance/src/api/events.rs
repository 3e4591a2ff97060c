//! Server-sent events: a job as it goes on, and "something changed" for open console pages.
//!
//! An event carries the whole [`JobView`], so a reader that missed one misses nothing. Both streams are woken by the
//! service's change counter, send at most four events a second, say that they live every 15 s, and end when the job is
//! over (the first), or the appliance stops, or what let the reader in is none any more (both).

use std::{convert::Infallible, sync::Arc, time::Duration};

use aide::axum::routing::get_with;
use axum::{
    Extension,
    extract::{Path, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream;
use recovery_protocol::{JobId, operator::JobView};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Call, Closed, Needs, People, Refusal,
    describe::gives,
    gate::{self, Open, Who},
    job_id,
};
use crate::{service::Service, tls::Peer};

const KEEP_ALIVE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(250);

/// The stream of REST.
pub fn calls() -> Vec<Call> {
    let events =
        gives("text/event-stream", "A job as it goes on: each `data:` is the whole job; ends with it");
    let changed = gives(
        "text/event-stream",
        "Something changed: ask again what you show; each `data:` is a count that means nothing else",
    );
    vec![
        ("/api/v1/jobs/{job}/events", get_with(job_events, events), Needs::LOOK),
        ("/api/v1/changes", get_with(changes, changed), Needs::LOOK),
    ]
}

/// The stream of the console's pages.
pub fn routes() -> Vec<Closed> {
    vec![("/changes", get(changes), Needs::LOOK)]
}

struct Follower {
    service: Service,
    changes: watch::Receiver<u64>,
    until: Until,
    job: JobId,
    sent: Option<JobView>,
}

impl Follower {
    /// The job's next state that was not sent yet; `None` when there will be none.
    async fn next(mut self) -> Option<(JobView, Self)> {
        if self.sent.as_ref().is_some_and(|view| view.state.is_over()) {
            return None;
        }
        loop {
            self.changes.borrow_and_update();
            let view = self.service.job(self.job).await.ok()?;
            // Its reader may have stalled since the last one, and a job that moves waits for nothing here.
            if self.until.over() {
                return None;
            }
            if self.sent.as_ref() != Some(&view) {
                self.sent = Some(view.clone());
                return Some((view, self));
            }
            changed(&mut self.changes, &mut self.until).await?;
        }
    }
}

/// What a stream ends with.
struct Until {
    stopping: CancellationToken,
    open: Open,
}

impl Until {
    fn new(people: &People, who: Who, peer: Option<&Peer>) -> Self {
        let stopping = peer.map_or_else(CancellationToken::new, |peer| peer.stopping.clone());
        let open = Open::new(Arc::clone(&people.gate), people.service.clone(), who, gate::address(peer));
        Self { stopping, open }
    }

    /// Whether it is now.
    fn over(&self) -> bool {
        self.stopping.is_cancelled() || !self.open.lives()
    }
}

/// Wait for a change, then a moment, so that a burst is one event. `None`: the stream is over.
async fn changed(changes: &mut watch::Receiver<u64>, until: &mut Until) -> Option<()> {
    let next = async {
        changes.changed().await.ok()?;
        tokio::time::sleep(PAUSE).await;
        Some(())
    };
    tokio::select! {
        biased;
        () = until.stopping.cancelled() => None,
        () = until.open.over() => None,
        next = next => next.filter(|()| !until.over()),
    }
}

async fn job_events(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    Path(job): Path<String>,
    peer: Option<Extension<Peer>>,
) -> Result<Response, Refusal> {
    let job = job_id(&job)?;
    people.service.job(job).await?;
    let changes = people.service.changes();
    let until = Until::new(&people, who, peer.as_deref());
    let follower = Follower { service: people.service, changes, until, job, sent: None };
    let events = stream::unfold(follower, |follower| async {
        let (view, follower) = follower.next().await?;
        let event =
            Event::default().json_data(&view).unwrap_or_else(|_| Event::default().comment("unreadable"));
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

async fn changes(
    State(people): State<People>,
    Extension(who): Extension<Who>,
    peer: Option<Extension<Peer>>,
) -> Response {
    let start = (people.service.changes(), Until::new(&people, who, peer.as_deref()));
    let events = stream::unfold(start, |(mut changes, mut until)| async move {
        changed(&mut changes, &mut until).await?;
        let count = *changes.borrow_and_update();
        Some((Ok::<_, Infallible>(Event::default().data(count.to_string())), (changes, until)))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

//! One tracing span for each boot of an endpoint that holds a ticket: what happens in it is logged inside of it, and it closes with how it ended.
//!
//! ```text
//! first packet of an attempt ─► span `boot{endpoint, job, attempt}` ─► its events … ─► agent spoke | firmware began anew | another job
//! ```
//!
//! Whoever collects traces (`tracing` subscribers know spans) gets the length of a boot and its parts for nothing. Bounded by the number of live tickets:
//! who holds none has no span.

use std::collections::HashMap;

use recovery_protocol::{EndpointId, JobId};
use tracing::{Span, field};

/// The spans of the boots that run.
#[derive(Debug, Default)]
pub struct Spans {
    open: HashMap<EndpointId, (JobId, Span)>,
    attempts: u64,
}

impl Spans {
    /// The span of this endpoint's boot, opened where there is none of this job; then those close whose endpoint holds no ticket any more.
    pub fn of(&mut self, endpoint: &EndpointId, job: JobId, holds: impl Fn(&EndpointId) -> bool) -> Span {
        if let Some((of, span)) = self.open.get(endpoint)
            && *of == job
        {
            return span.clone();
        }
        self.open.retain(|endpoint, _| holds(endpoint));
        self.attempts += 1;
        let span = tracing::info_span!(
            "boot",
            %endpoint,
            %job,
            attempt = self.attempts,
            reached = field::Empty,
            cause = field::Empty
        );
        self.open.insert(endpoint.clone(), (job, span.clone()));
        span
    }

    /// This endpoint's boot is over.
    pub fn end(&mut self, endpoint: &EndpointId, reached: &str, cause: &str) {
        if let Some((_, span)) = self.open.remove(endpoint) {
            span.record("reached", reached).record("cause", cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_one_span_until_it_ends_or_another_job_begins() {
        let subscriber = tracing_subscriber::fmt().with_writer(std::io::sink).finish();
        tracing::subscriber::with_default(subscriber, || {
            let mut spans = Spans::default();
            let press: EndpointId = "press-01".parse().unwrap();
            let (job, other) = (JobId::new(1, [1; 10]), JobId::new(2, [2; 10]));
            let held = |_: &EndpointId| true;
            let first = spans.of(&press, job, held).id();
            assert!(first.is_some());
            assert_eq!(spans.of(&press, job, held).id(), first, "the same boot");
            spans.end(&press, "loader", "Secure Boot refused it");
            let second = spans.of(&press, job, held).id();
            assert_ne!(second, first, "the firmware began anew");
            assert_ne!(spans.of(&press, other, held).id(), second, "another job");
            assert_eq!(spans.open.len(), 1);
            let next: EndpointId = "press-02".parse().unwrap();
            spans.of(&next, job, |endpoint| *endpoint == next);
            assert_eq!(spans.open.keys().collect::<Vec<_>>(), [&next], "no ticket, no span");
        });
    }
}

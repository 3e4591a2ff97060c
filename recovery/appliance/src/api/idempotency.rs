//! `Idempotency-Key`: the same order twice is one order, also when the first answer was lost on the way.
//!
//! The same key with the same order within 24 hours returns the job of the first; with another order it is refused
//! (422); while the first is still being taken it is refused too (409). Kept in memory: after a restart an open job is
//! still returned and not doubled, by the rule of one open job per endpoint.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use recovery_protocol::{JobId, Problem};

/// The header's name.
pub const HEADER: &str = "idempotency-key";
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const KEYS_MAX: usize = 4096;
const KEY_LEN_MAX: usize = 128;

struct Entry {
    order: String,
    job: Option<JobId>,
    at: Instant,
}

/// Orders answered, by key.
#[derive(Default)]
pub struct Answered(Mutex<HashMap<String, Entry>>);

/// A key that was taken; dropping it without [`Taken::answered`] frees the key.
pub struct Taken<'a> {
    answered: &'a Answered,
    key: String,
    done: bool,
}

impl Answered {
    /// Take `key` for `order`, or find the job that it made before.
    ///
    /// # Errors
    /// 400 for an unusable key, 409 while the first order is being taken, 422 for another order under the same key.
    pub fn take(&self, key: &str, order: &str) -> Result<Result<Taken<'_>, JobId>, Problem> {
        if key.is_empty() || key.len() > KEY_LEN_MAX {
            let detail = format!("the key has {} bytes", key.len());
            let remedy = "send a fresh random key of 1 to 128 characters";
            return Err(Problem::new(400, "bad-idempotency-key", "The key cannot be used", detail, remedy));
        }
        let now = Instant::now();
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| now.duration_since(entry.at) < KEPT);
        if let Some(entry) = entries.get(key) {
            if entry.order != order {
                let detail = "the same Idempotency-Key came with another order before";
                let remedy = "send a fresh key with a new order";
                return Err(Problem::new(422, "idempotency-key-reused", "The key was used", detail, remedy));
            }
            return entry.job.map(Err).ok_or_else(|| {
                let remedy = "wait for the first answer";
                Problem::new(
                    409,
                    "order-in-flight",
                    "The order is being taken",
                    "its first copy has no answer yet",
                    remedy,
                )
            });
        }
        if entries.len() >= KEYS_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.at).map(|(key, _)| key.clone());
            oldest.map(|key| entries.remove(&key));
        }
        entries.insert(key.to_owned(), Entry { order: order.to_owned(), job: None, at: now });
        Ok(Ok(Taken { answered: self, key: key.to_owned(), done: false }))
    }
}

impl Taken<'_> {
    /// The order made this job.
    pub fn answered(mut self, job: JobId) {
        self.done = true;
        let mut entries = self.answered.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&self.key) {
            entry.job = Some(job);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.answered.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(taken: Result<Result<Taken<'_>, JobId>, Problem>) -> String {
        taken.err().map(|problem| problem.code).unwrap_or_default()
    }

    #[test]
    fn the_same_order_twice_is_one_job() {
        let (answered, job) = (Answered::default(), JobId::new(1, [0; 10]));
        let first = answered.take("k", "press-01").unwrap().ok().unwrap();
        assert_eq!(code(answered.take("k", "press-01")), "order-in-flight");
        first.answered(job);
        assert_eq!(answered.take("k", "press-01").unwrap().err(), Some(job));
        assert_eq!(code(answered.take("k", "press-02")), "idempotency-key-reused");
        assert!(answered.take("other", "press-01").unwrap().is_ok());
    }

    #[test]
    fn a_refused_order_frees_its_key_and_bad_keys_are_named() {
        let answered = Answered::default();
        drop(answered.take("k", "press-01").unwrap());
        assert!(answered.take("k", "press-02").unwrap().is_ok());
        assert_eq!(code(answered.take("", "x")), "bad-idempotency-key");
        assert_eq!(code(answered.take(&"x".repeat(129), "x")), "bad-idempotency-key");
    }
}

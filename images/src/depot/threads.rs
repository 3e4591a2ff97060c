//! A few packs at a time: the depot answers late, so that one at a time would wait most of the time.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::DepotError;

/// Packs at a time. Each holds one in memory when it is pushed.
const AT_ONCE: usize = 3;

/// What a job says as it goes on: so many bytes more.
pub(super) type Say<'a> = &'a dyn Fn(u64);

/// Do `work` for each of `jobs`; the first error lets those at work end and begins no more. `step` gets the bytes that a
/// job has moved, in the calling thread; while it waits, the jobs wait.
pub(super) fn by_several<J: Sync, T: Send>(
    jobs: &[J],
    step: &mut dyn FnMut(u64),
    work: impl Fn(&J, Say<'_>) -> Result<T, DepotError> + Sync,
) -> Result<Vec<T>, DepotError> {
    let (next, failed, results) = (AtomicUsize::new(0), Mutex::new(None), Mutex::new(Vec::new()));
    let (say, said) = sync_channel(0);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(jobs.len()) {
            let say = say.clone();
            scope.spawn(|| {
                let say = say;
                while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // The receiver outlives the threads, so this never fails.
                    let done = work(job, &|bytes| say.send(bytes).unwrap_or_default());
                    match done {
                        Ok(done) => results.lock().unwrap_or_else(PoisonError::into_inner).push(done),
                        Err(error) => {
                            next.store(jobs.len(), Ordering::Relaxed);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                }
            });
        }
        drop(say);
        said.iter().for_each(&mut *step);
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(results.into_inner().unwrap_or_else(PoisonError::into_inner)),
    }
}

//! Work shared out among a few threads.

use std::num::NonZeroUsize;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Does `work` for each item, `jobs` at once. All are done, also after one that failed; what came of them is in the order of the items.
///
/// # Panics
/// As `work` did, when the others have ended.
pub fn each<T: Sync, R: Send>(items: &[T], jobs: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut done = Vec::new();
        while let (at, Some(item)) = take(&next, items) {
            done.push((at, work(item)));
        }
        done
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.max(1)).map(|_| scope.spawn(run)).collect();
        let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        ended.into_iter().flat_map(|done| done.unwrap_or_else(|why| panic::resume_unwind(why))).collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, came)| came).collect()
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> (usize, Option<&'a T>) {
    let at = next.fetch_add(1, Ordering::Relaxed);
    (at, items.get(at))
}

/// How many processors there are.
#[must_use]
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use super::*;

    #[test]
    fn two_at_once_meet() {
        let (to_first, first) = mpsc::channel();
        let (to_second, second) = mpsc::channel();
        let ends = [(to_second, Mutex::new(first)), (to_first, Mutex::new(second))];
        let met = each(&ends, 2, |(to, from)| {
            to.send(()).unwrap();
            from.lock().unwrap().recv_timeout(Duration::from_secs(10)).is_ok()
        });
        assert_eq!(met, [true, true], "one waited for the end of the other");
    }

    #[test]
    fn what_came_of_each_is_in_the_order_of_the_items() {
        for jobs in [0, 1, 3, 20] {
            assert_eq!(each(&[3, 1, 2, 5], jobs, |n| n * 2), [6, 2, 4, 10]);
        }
        assert!(each::<u8, u8>(&[], 2, |n| *n).is_empty());
    }
}

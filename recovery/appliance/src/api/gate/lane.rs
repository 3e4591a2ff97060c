//! The lane of passwords: how many Argon2id run at once, and who is next.
//!
//! ```text
//! try ─► free? ─► runs ─► next: of those who wait the least to blame, then the longest waiting
//!          └─ no ─► waits (a few of one address, some dozens in all; the most to blame goes when it is full)
//! ```
//!
//! One Argon2id takes 19 MiB and tens of milliseconds. So a flood costs one core and waits for itself: an address that guessed wrong lately is
//! behind everyone who did not, and takes at most two places.
//!
//! It must never: run more than its lanes, or let somebody wait who is not here any more.

use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::oneshot;

/// How many wait, and how many of them from one address.
pub const WAITING_MOST: usize = 32;
const OF_ONE_MOST: usize = 2;

/// The lane.
pub struct Lane {
    state: Mutex<State>,
    runs: AtomicU64,
}

struct State {
    free: usize,
    waiting: Vec<Waiting>,
    seq: u64,
}

struct Waiting {
    from: IpAddr,
    blame: u32,
    seq: u64,
    go: oneshot::Sender<Turn>,
}

/// Permission to run one Argon2id; dropped, the next one has it.
pub struct Turn(Option<Arc<Lane>>);

/// Too many wait.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Lane {
    /// This many at once.
    pub fn new(lanes: usize) -> Arc<Self> {
        let state = State { free: lanes, waiting: Vec::new(), seq: 0 };
        Arc::new(Self { state: Mutex::new(state), runs: AtomicU64::new(0) })
    }

    /// How many Argon2id ran.
    #[cfg(test)]
    pub fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Wait for one's turn. `blame`: how many wrong secrets came from there lately. Cancel-safe: who goes away waits no more.
    ///
    /// # Errors
    /// [`Full`].
    pub async fn turn(self: &Arc<Self>, from: IpAddr, blame: u32) -> Result<Turn, Full> {
        let waits = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(self.given());
            }
            state.waiting.retain(|waiting| !waiting.go.is_closed());
            let of_one = state.waiting.iter().filter(|waiting| waiting.from == from).count();
            if of_one >= OF_ONE_MOST {
                return Err(Full);
            }
            if state.waiting.len() >= WAITING_MOST {
                let worst =
                    state.waiting.iter().enumerate().max_by_key(|(_, other)| (other.blame, other.seq));
                match worst.map(|(index, other)| (index, other.blame)) {
                    Some((index, worse)) if worse > blame => drop(state.waiting.remove(index)),
                    _ => return Err(Full),
                }
            }
            let (go, waits) = oneshot::channel();
            state.seq += 1;
            let seq = state.seq;
            state.waiting.push(Waiting { from, blame, seq, go });
            waits
        };
        waits.await.map_err(|_| Full)
    }

    /// Nobody from there has room until what this returns goes.
    #[cfg(test)]
    pub fn crowd(self: &Arc<Self>, from: IpAddr) -> impl Sized + use<> {
        use futures_util::FutureExt as _;
        let asked: Vec<_> = (0..=OF_ONE_MOST)
            .map(|_| {
                let lane = Arc::clone(self);
                let mut asked = async move { lane.turn(from, 0).await }.boxed();
                let given = (&mut asked).now_or_never();
                (given, asked)
            })
            .collect();
        asked
    }

    fn given(self: &Arc<Self>) -> Turn {
        self.runs.fetch_add(1, Ordering::Relaxed);
        Turn(Some(Arc::clone(self)))
    }

    /// A turn is over: to the next one who is still here.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state();
                let least =
                    state.waiting.iter().enumerate().min_by_key(|(_, other)| (other.blame, other.seq));
                let Some(index) = least.map(|(index, _)| index) else {
                    state.free += 1;
                    return;
                };
                state.waiting.swap_remove(index)
            };
            match next.go.send(Turn(Some(Arc::clone(self)))) {
                Ok(()) => {
                    self.runs.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                // Gone: their turn is not passed on twice.
                Err(mut unused) => drop(unused.0.take()),
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(lane) = self.0.take() {
            lane.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, pin::pin, task::Poll};

    use futures_util::{FutureExt as _, future::BoxFuture, poll};

    use super::*;

    fn at(n: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    fn ask(lane: &Arc<Lane>, from: IpAddr, blame: u32) -> BoxFuture<'static, Result<Turn, Full>> {
        let lane = Arc::clone(lane);
        async move { lane.turn(from, blame).await }.boxed()
    }

    #[tokio::test]
    async fn a_flood_waits_for_itself_and_who_comes_from_elsewhere_is_next() {
        let lane = Lane::new(1);
        let running = lane.turn(at(1), 9).await.unwrap();
        let mut flood: Vec<_> = (0..100).map(|_| ask(&lane, at(1), 9)).collect();
        let mut refused = 0;
        for asked in &mut flood {
            refused += usize::from(matches!(poll!(asked), Poll::Ready(Err(Full))));
        }
        assert_eq!(refused, 100 - OF_ONE_MOST);
        let mut anna = pin!(lane.turn(at(2), 0));
        assert!(poll!(&mut anna).is_pending());
        drop(running);
        assert!(
            matches!(poll!(&mut anna), Poll::Ready(Ok(_))),
            "after the one that ran, not after those that wait"
        );
    }

    #[tokio::test]
    async fn a_flood_from_everywhere_makes_room_for_whom_nothing_is_held_against() {
        let lane = Lane::new(1);
        let running = lane.turn(at(0), 0).await.unwrap();
        let mut flood: Vec<_> =
            (1..=u8::try_from(WAITING_MOST).unwrap()).map(|n| ask(&lane, at(n), 3)).collect();
        for asked in &mut flood {
            assert!(poll!(asked).is_pending());
        }
        assert!(matches!(lane.turn(at(99), 3).await, Err(Full)), "no more than it holds");
        let mut anna = pin!(lane.turn(at(100), 0));
        assert!(poll!(&mut anna).is_pending());
        assert!(matches!(flood.pop().unwrap().await, Err(Full)), "the newest of the most to blame made room");
        drop(running);
        assert!(matches!(poll!(&mut anna), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn who_went_away_holds_no_lane() {
        let lane = Lane::new(1);
        let running = lane.turn(at(1), 0).await.unwrap();
        let mut gone = ask(&lane, at(2), 0);
        assert!(poll!(&mut gone).is_pending());
        // One that was told to go in the same moment as it left, and one that left before.
        let mut told = ask(&lane, at(3), 0);
        assert!(poll!(&mut told).is_pending());
        drop(gone);
        drop(running);
        drop(told);
        assert_eq!(lane.state().free, 1);
        assert!(lane.turn(at(4), 0).await.is_ok());
    }
}

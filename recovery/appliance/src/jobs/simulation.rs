//! The journal under crashes: real database on disk, real images, a clock that we move; power and control plane are
//! stand-ins that remember what was done to them across our deaths. The appliance dies at every write, once just before
//! the commit and once just after it, and is opened again from what lies on disk; every time the job must end Recovered.

use std::{
    collections::VecDeque,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use futures_util::future::BoxFuture;
use recovery_protocol::{
    EndpointId, JobId,
    agent::{CaptureSpec, Captured, PlanFacts, RestoreFacts},
    erase::ErasePolicy,
    job::{HoldReason, JobState, Stage},
    operator::{EndpointState, Mode, Power},
};
use ring::signature::KeyPair as _;
use tempfile::TempDir;

use super::{
    job::{Proof, Proposal, Restored, What},
    journal::{Journal, JournalError, NewJob, capture_proposal, proposal},
    run::Runner,
};
use crate::{
    clock::Clock,
    config::Config,
    control_plane::{ControlPlane, Observed, PlaneError, Registration},
    db::{self, Db, DbError, endpoint},
    evidence::{self, EvidenceLog},
    golden::Golden,
    keys::Keys,
    live::Live,
    power::{Left, PowerDriver, PowerError, Powered, Still, Target},
};

/// When the appliance dies: at the n-th commit from now, before or after it.
#[derive(Debug)]
pub struct Death {
    commits: AtomicI64,
    after: AtomicBool,
}

impl Default for Death {
    fn default() -> Self {
        Self { commits: AtomicI64::new(i64::MAX), after: AtomicBool::new(false) }
    }
}

impl Death {
    fn at(commits: i64, after: bool) -> Self {
        Self { commits: AtomicI64::new(commits), after: AtomicBool::new(after) }
    }

    pub fn before_commit(&self) -> Result<(), DbError> {
        let left = self.commits.fetch_sub(1, Ordering::SeqCst);
        if left < 0 || (left == 0 && !self.after.load(Ordering::SeqCst)) { Err(dead()) } else { Ok(()) }
    }

    pub fn after_commit(&self) -> Result<(), DbError> {
        if self.commits.load(Ordering::SeqCst) < 0 { Err(dead()) } else { Ok(()) }
    }
}

fn dead() -> DbError {
    DbError::Sql(sqlx::Error::WorkerCrashed)
}

struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_unix_ms(&self) -> u64 {
        // Time never stands still between two reads.
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

mod asked_again;
mod plane;
mod taken_back;
mod turns;
mod withdrawn;
use withdrawn::Moment;

/// The world outside: it keeps what was done to it, whoever died.
#[derive(Default)]
struct World {
    done: Mutex<Vec<&'static str>>,
    plane: Mutex<(u64, bool)>,
    power_fails: AtomicU64,
    /// So many power cycles end after "off".
    power_stays_off: AtomicU64,
    clear_fails: AtomicU64,
    cleared: Mutex<Vec<Power>>,
    /// How it reads after a restart.
    stands: Mutex<Option<Left>>,
    plane_fails: AtomicU64,
    /// What the control plane says by itself, one after another; then nothing.
    plane_sees: Mutex<VecDeque<Observed>>,
    lift_fails: AtomicU64,
    /// What the source says when it is asked once more.
    source: Mutex<asked_again::Says>,
    /// What a person does while an endpoint is powered.
    during: Mutex<Option<withdrawn::During>>,
}

impl World {
    fn note(&self, what: &'static str) {
        self.done.lock().unwrap().push(what);
    }

    fn count(&self, what: &str) -> usize {
        self.done.lock().unwrap().iter().filter(|done| **done == what).count()
    }

    fn fails(counter: &AtomicU64) -> bool {
        counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    }
}

impl PowerDriver for World {
    fn power_into_network<'a>(
        &'a self,
        _: &'a Target<'a>,
        still: &'a dyn Still,
    ) -> BoxFuture<'a, Result<Powered, PowerError>> {
        Box::pin(async {
            self.meanwhile(Moment::Looking).await;
            still.wanted().await?;
            if Self::fails(&self.power_fails) {
                return Err(PowerError::Password { path: "none".to_owned() });
            }
            self.note("power");
            self.meanwhile(Moment::Switching).await;
            if Self::fails(&self.power_stays_off) {
                let why = Box::new(PowerError::Password { path: "none".to_owned() });
                return Err(PowerError::Left { why, left: Left::Off });
            }
            Ok(Powered::Confirmed { by: "test".to_owned() })
        })
    }

    fn probe<'a>(&'a self, _: &'a Target<'a>) -> BoxFuture<'a, bool> {
        Box::pin(async { self.count("power") > 0 })
    }

    fn stands<'a>(&'a self, _: &'a Target<'a>) -> BoxFuture<'a, Option<Left>> {
        Box::pin(async { *self.stands.lock().unwrap() })
    }

    fn clear_boot<'a>(&'a self, target: &'a Target<'a>) -> BoxFuture<'a, Result<(), PowerError>> {
        Box::pin(async {
            if Self::fails(&self.clear_fails) {
                return Err(PowerError::Password { path: "none".to_owned() });
            }
            self.cleared.lock().unwrap().push(target.power.clone());
            self.note("clear");
            Ok(())
        })
    }
}

/// What survives a death: the disk, the world, the time.
struct Site {
    dir: TempDir,
    config: Arc<Config>,
    keys: Arc<Keys>,
    world: Arc<World>,
    clock: Arc<TestClock>,
    job: Mutex<Option<JobId>>,
    /// A capture is ordered, and no recovery.
    captures: bool,
    /// A source's word alone begins it.
    asks_again: bool,
}

/// What dies.
struct Life {
    journal: Arc<Journal>,
    runner: Runner,
    golden: Golden,
}

/// The golden image, imported and signed once for all lives.
static GOLDEN: LazyLock<TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    crate::testing::golden_image(dir.path(), &dir.path().join("store"), &dir.path().join("root.json"));
    dir
});

fn endpoint_id() -> EndpointId {
    "press-01".parse().unwrap()
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = GOLDEN.path().display();
        let text = format!(
            "data_dir = \"state\"\nimage_store_dir = \"{images}/store\"\ntrust_root_file = \"{images}/root.json\"\n\
             [blueprints.hmi]\nimage = \"hmi-panel\"\n[groups.default]\nmode = \"auto\"\nmax_concurrent = 100\n"
        );
        let config = Arc::new(Config::parse(&text, &dir.path().join("gs.toml")).unwrap());
        let keys = Arc::new(Keys::open(&config.data_dir, &["a".to_owned()], &[]).unwrap());
        let (world, job) = (Arc::default(), Mutex::default());
        let clock = Arc::new(TestClock(AtomicU64::new(1_000_000)));
        Self { dir, config, keys, world, clock, job, captures: false, asks_again: false }
    }

    fn of_a_capture() -> Self {
        Self { captures: true, ..Self::new() }
    }

    fn database(&self) -> std::path::PathBuf {
        self.dir.path().join("state").join("db")
    }

    async fn open(&self, death: Death) -> Result<Life, DbError> {
        let db = Db::open(&self.database()).await?;
        let evidence = EvidenceLog::new(self.keys.clone());
        let mut journal = Journal::open(db, self.config.clone(), evidence, self.clock.clone()).await?;
        journal.death = death;
        let journal = Arc::new(journal);
        let golden = Golden::open(&self.config.image_store(), &self.config.trust_root()).unwrap();
        let (power, plane, live) = (self.world.clone(), self.world.clone(), Arc::new(Live::default()));
        let runner =
            Runner::new(journal.clone(), golden.clone(), power, plane, live).asking(self.world.clone());
        runner.recall().await?;
        Ok(Life { journal, runner, golden })
    }

    /// One life of the appliance: until the job is over, or until it dies. `stop_in`: die when the job enters this stage.
    async fn live(&self, death: Death, stop_in: Option<Stage>) -> Result<(), DbError> {
        let life = self.open(death).await?;
        let lived = self.live_on(&life, stop_in).await;
        life.journal.db.close().await;
        lived
    }

    async fn live_on(&self, life: &Life, stop_in: Option<Stage>) -> Result<(), DbError> {
        self.order(life).await?;
        let id = self.job.lock().unwrap().unwrap();
        for _ in 0..100 {
            let row = db::job::get(&mut *life.journal.db.read().await?, id).await?.unwrap();
            match row.job.state {
                JobState::Recovered | JobState::Captured => return Ok(()),
                JobState::Working { stage } => {
                    if stop_in == Some(stage) {
                        return Err(dead());
                    }
                    let says = agent(stage, row.job.step_seq);
                    let speaks = !says.is_empty();
                    for what in says {
                        answer(life.journal.event(id, "agent", what).await)?;
                    }
                    if speaks {
                        continue;
                    }
                }
                JobState::Held { .. } | JobState::Cancelled { .. } | JobState::Failed { .. } => {
                    panic!("the job ended up {:?}", row.job.state)
                }
            }
            if stop_in.is_none() {
                life.runner.settle().await?;
            } else {
                life.runner.step().await?;
            }
            self.clock.0.fetch_add(500, Ordering::SeqCst);
        }
        panic!("the job makes no way");
    }

    /// Endpoint and job, unless an earlier life wrote them.
    async fn order(&self, life: &Life) -> Result<(), DbError> {
        let written = db::job::list(&mut *life.journal.db.read().await?, None, 1).await?.pop();
        let id = match written {
            Some(row) => row.job.id,
            None => self.order_for(life, &endpoint_id(), 1).await?,
        };
        *self.job.lock().unwrap() = Some(id);
        Ok(())
    }

    async fn order_for(&self, life: &Life, id: &EndpointId, n: u8) -> Result<JobId, DbError> {
        let record = endpoint::Record {
            macs: vec![recovery_protocol::MacAddr([0x52, 0x54, 0, 0, 0, n])],
            blueprint: "hmi".to_owned(),
            group: "default".to_owned(),
            ..endpoint::Record::default()
        };
        let endpoint = endpoint::Endpoint::new(id.clone(), EndpointState::Known, record, 0);
        let choice = life.golden.choose(&self.config.blueprints["hmi"]).await.unwrap();
        let mut tx = life.journal.begin().await?;
        db::endpoint::put(tx.conn(), &endpoint).await?;
        let job = JobId::new(tx.at, [n; 10]);
        let proposal = match self.captures {
            false => proposal(job, &endpoint, Mode::Real, choice.image, "operator:anna"),
            true => capture_proposal(job, &endpoint, spec(), "operator:anna"),
        };
        let proposal = Proposal { asks_again: self.asks_again, ..proposal };
        let new = NewJob {
            proposal,
            group: "default".to_owned(),
            trigger: if self.asks_again { "webhook:soc" } else { "operator" }.to_owned(),
            reason: "it does not boot".to_owned(),
            automatic: self.asks_again,
            image_name: choice.name,
        };
        tx.propose(new).await?;
        tx.commit().await?;
        Ok(job)
    }

    /// What must be true in the end, however often the appliance died.
    async fn check(&self) {
        let db = Db::open(&self.database()).await.unwrap();
        let mut conn = db.read().await.unwrap();
        let row = db::job::list(&mut conn, None, 9).await.unwrap();
        assert_eq!(row.len(), 1, "one order is one job");
        let row = &row[0];
        assert!(row.ended.is_some());
        assert_eq!(db::job::intents(&mut conn).await.unwrap(), [], "an intent was forgotten");
        assert_eq!(db::ticket::live_boot(&mut conn).await.unwrap(), [], "a boot ticket outlived its job");
        let endpoint = db::endpoint::get(&mut conn, &endpoint_id()).await.unwrap().unwrap();
        if self.captures {
            assert_eq!((&row.job.state, row.job.image), (&JobState::Captured, CAPTURED));
            assert_eq!((endpoint.state, endpoint.generation), (EndpointState::Known, 0), "as it was");
            assert_eq!(*self.world.plane.lock().unwrap(), (0, false), "nobody was fenced or registered");
        } else {
            assert_eq!((&row.job.state, row.job.golden), (&JobState::Recovered, Some(Proof::Quote)));
            assert_eq!((endpoint.state, endpoint.generation), (EndpointState::Trusted, 1));
            assert_eq!(*self.world.plane.lock().unwrap(), (1, true));
        }
        let phases = db::job::phases(&mut conn, row.job.id).await.unwrap();
        let stages: Vec<Stage> = phases.iter().map(|phase| phase.stage).collect();
        let passed = |stage: &Stage| match self.captures {
            false => *stage != Stage::Capturing,
            true => *stage != Stage::Approved && *stage != Stage::Fenced && *stage <= Stage::Capturing,
        };
        let mut expected: Vec<Stage> = Stage::ALL.into_iter().filter(passed).collect();
        expected.extend(self.captures.then_some(Stage::Disarming));
        assert_eq!(stages, expected, "each stage once");
        assert!(phases.iter().all(|phase| phase.to_unix_ms.is_some_and(|to| to >= phase.from_unix_ms)));
        assert_eq!(self.world.count("power"), 1, "a power cycle was repeated blindly");
        let lines = evidence::tests::exported(&db).await;
        let key = self.keys.evidence.public_key().as_ref().try_into().unwrap();
        let seen = recovery_protocol::evidence::verify(lines.lines(), key).unwrap();
        assert_eq!(seen.signed_up_to, seen.entries, "the end of a job is signed");
        drop(conn);
        db.close().await;
    }
}

const CAPTURED: images::ImageId = images::ImageId(images::Digest([8; 32]));

fn spec() -> CaptureSpec {
    CaptureSpec {
        name: "hmi-panel".to_owned(),
        version: "2".to_owned(),
        epoch: 2,
        hardware_class: String::new(),
        note: String::new(),
        created_unix_ms: 1,
        previous: None,
        keep_free_space: false,
        preserve: Vec::new(),
    }
}

/// What the endpoint does in each stage; it knows nothing of our deaths and says it again.
fn agent(stage: Stage, step_seq: u32) -> Vec<What> {
    let session = || "s".to_owned();
    let says = |report| What::Reported { session: session(), step_seq, report };
    match stage {
        Stage::AgentWait => vec![What::AgentHello],
        Stage::Proving => vec![What::HardwareProven { session: session(), proof: Proof::Quote }],
        Stage::Capturing if step_seq == 0 => {
            vec![What::OrderAsked { session: session(), disk: String::new(), erase: ErasePolicy::None }]
        }
        Stage::Capturing => vec![What::Captured {
            session: session(),
            step_seq,
            image: CAPTURED,
            captured: Captured::default(),
        }],
        Stage::Imaging if step_seq == 0 => {
            vec![What::OrderAsked { session: session(), disk: String::new(), erase: ErasePolicy::None }]
        }
        Stage::Imaging => {
            vec![
                says(Restored::Planned(PlanFacts::default(), Box::default())),
                says(Restored::Written(RestoreFacts::default())),
            ]
        }
        Stage::ReadBack => {
            vec![
                says(Restored::Proven(RestoreFacts::default())),
                says(Restored::Committed(RestoreFacts::default())),
            ]
        }
        Stage::OsWait => vec![What::GoldenHello],
        Stage::Verifying => vec![What::GoldenProven { proof: Proof::Quote, enrols: true }],
        Stage::Enrolling => {
            vec![What::Certified { serial: "0a".to_owned() }, What::Enrolled { serial: "0a".to_owned() }]
        }
        Stage::Proposed
        | Stage::Admitted
        | Stage::Approved
        | Stage::Fenced
        | Stage::Ticketed
        | Stage::Powering
        | Stage::Disarming
        | Stage::Registering
        | Stage::Releasing => Vec::new(),
    }
}

/// A refusal is an answer; a dead database is death.
fn answer<T>(result: Result<T, JournalError>) -> Result<(), DbError> {
    match result {
        Ok(_) | Err(JournalError::Refused(_) | JournalError::UnknownJob(_)) => Ok(()),
        Err(JournalError::Db(error)) => Err(error),
    }
}

#[tokio::test]
async fn a_death_at_any_write_before_or_after_it_still_ends_recovered() {
    a_death_at_any_write(Site::new, 20).await;
}

#[tokio::test]
async fn a_death_at_any_write_of_a_capture_still_ends_captured_and_the_endpoint_is_as_it_was() {
    a_death_at_any_write(Site::of_a_capture, 8).await;
}

async fn a_death_at_any_write(site: fn() -> Site, writes_least: i64) {
    for after in [false, true] {
        let mut deaths = 0;
        loop {
            let site = site();
            let died = site.live(Death::at(deaths, after), None).await.is_err();
            if died {
                site.live(Death::default(), None).await.unwrap();
            }
            site.check().await;
            if !died {
                break;
            }
            deaths += 1;
        }
        assert!(deaths > writes_least, "only {deaths} writes in a whole job: the test does not see them");
    }
}

#[tokio::test]
async fn a_death_in_each_stage_twice_still_ends_recovered() {
    for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Capturing) {
        let site = Site::new();
        site.live(Death::default(), Some(stage)).await.unwrap_err();
        // Again, a write later; in the last stage there may be none left.
        if site.live(Death::at(1, true), None).await.is_err() {
            site.live(Death::default(), None).await.unwrap();
        }
        site.check().await;
    }
}

#[tokio::test]
async fn a_failing_bmc_and_a_cut_uplink_are_tried_again() {
    let site = Site::new();
    site.world.power_fails.store(2, Ordering::SeqCst);
    site.world.plane_fails.store(5, Ordering::SeqCst);
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let id = site.job.lock().unwrap().unwrap();
    for _ in 0..400 {
        life.runner.settle().await.unwrap();
        let row = db::job::get(&mut life.journal.db.read().await.unwrap(), id).await.unwrap().unwrap();
        let Some(stage) = row.job.state.stage().filter(|_| !row.job.state.is_over()) else { break };
        for what in agent(stage, row.job.step_seq) {
            answer(life.journal.event(id, "agent", what).await).unwrap();
        }
        site.clock.0.fetch_add(2_000, Ordering::SeqCst);
    }
    life.journal.db.close().await;
    site.check().await;
}

#[tokio::test]
async fn a_silent_endpoint_is_powered_again_then_held_and_its_ticket_is_void() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let id = site.job.lock().unwrap().unwrap();
    let mut held = None;
    for _ in 0..20 {
        life.runner.settle().await.unwrap();
        let row = db::job::get(&mut life.journal.db.read().await.unwrap(), id).await.unwrap().unwrap();
        let mac = "52:54:00:00:00:01".parse().unwrap();
        match row.job.state {
            JobState::Working { stage: Stage::AgentWait } => {
                assert!(
                    life.journal.tickets.find(mac, life.journal.now()).is_some(),
                    "no ticket to boot with"
                );
                site.clock.0.store(row.job.limit_unix_ms.unwrap() + 1, Ordering::SeqCst);
                life.runner.tick().await.unwrap();
            }
            JobState::Held { reason, .. } => {
                assert!(life.journal.tickets.find(mac, life.journal.now()).is_none(), "the ticket lives on");
                held = Some(reason);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(held, Some(HoldReason::AgentSilent));
    assert_eq!(site.world.count("power"), 2, "it was tried twice");
    life.journal.db.close().await;
}

/// What was due may be done by the time that it is acted on: the runner reads the journal while acts end.
#[tokio::test]
async fn an_intent_that_is_acted_on_twice_holds_nobody_up() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    site.order(&life).await.unwrap();
    let admit = db::job::intents(&mut life.journal.db.read().await.unwrap()).await.unwrap();
    life.runner.try_act(&admit[0]).await.unwrap();
    // With the writer still in its hand it would wait for the writer, and everybody else for both.
    life.runner.try_act(&admit[0]).await.unwrap();
    life.journal.db.close().await;
}

#[tokio::test]
async fn many_jobs_at_once_starve_nobody() {
    let site = Site::new();
    let life = site.open(Death::default()).await.unwrap();
    for n in 1..=24 {
        site.order_for(&life, &format!("press-{n:02}").parse().unwrap(), n).await.unwrap();
    }
    let stop = tokio_util::sync::CancellationToken::new();
    let all_wait = async {
        let mut changes = life.journal.changes();
        loop {
            changes.borrow_and_update();
            let open = db::job::open(&mut life.journal.db.read().await.unwrap()).await.unwrap();
            if open.iter().all(|row| row.job.state == JobState::Working { stage: Stage::AgentWait }) {
                return open.len();
            }
            changes.changed().await.unwrap();
        }
    };
    let waiting = tokio::select! {
        () = life.runner.run(stop.clone()) => unreachable!("nobody told it to stop"),
        waiting = tokio::time::timeout(std::time::Duration::from_secs(60), all_wait) => waiting,
    };
    assert_eq!(waiting, Ok(24), "the runner stands still");
    life.journal.db.close().await;
}

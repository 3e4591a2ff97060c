//! Many endpoints on one port, simulated: when the last one is restored, and when the last critical one is. `wave` prints JSON.
//!
//! The queue is the one that serves (`src/agents/shape.rs`), with a clock that nobody waits for. An endpoint reads its disk, fetches, up to
//! eight pieces at a time, and reads back; port and disks are as in the planning model: 1 GbE, and 500 MB a second.

#[allow(dead_code, reason = "of the queue only what takes the time is used")]
#[path = "../src/agents/shape.rs"]
mod shape;

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::{Context as _, Result};
use shape::{Place, Queue, Serving};
use tokio::time::Instant;

const PIECE: u64 = 1 << 20;
/// Pieces of an endpoint on their way at once.
const WINDOW: u64 = 8;
/// What 1 GbE carries of TCP, in MiB a second: 118 MB.
const PORT_MIB: u32 = 112;
const SUBNET_OF_CRITICAL: &str = "10.7.0.0/24";

/// One case of the model: bytes on the wire, seconds before and after.
struct Case {
    name: &'static str,
    wire: u64,
    scan_s: u64,
    read_back_s: u64,
}

const CASES: [Case; 3] = [
    Case { name: "full", wire: 2_830_000_000, scan_s: 0, read_back_s: 17 },
    Case { name: "rebuilt", wire: 1_480_000_000, scan_s: 17, read_back_s: 17 },
    Case { name: "ransomed", wire: 700_000_000, scan_s: 17, read_back_s: 17 },
];

fn main() -> Result<()> {
    let mut waves = Vec::new();
    for case in &CASES {
        for (endpoints, critical) in [(1, 0), (100, 0), (1000, 0), (10, 10), (1000, 10)] {
            let (last_s, critical_s) = wave(case, endpoints, critical)?;
            waves.push(serde_json::json!({
                "case": case.name, "endpoints": endpoints, "critical": critical, "last_s": last_s, "critical_s": critical_s,
            }));
        }
    }
    println!("{}", serde_json::to_string_pretty(&waves)?);
    Ok(())
}

fn address(number: u32, critical: u32) -> IpAddr {
    let base = if number < critical { Ipv4Addr::new(10, 7, 0, 1) } else { Ipv4Addr::new(10, 7, 4, 1) };
    IpAddr::V4(Ipv4Addr::from(u32::from(base) + number))
}

/// When the last endpoint of all is restored, and when the last critical one is, in seconds.
fn wave(case: &Case, endpoints: u32, critical: u32) -> Result<(f64, f64)> {
    let text = format!(
        "total_mib_per_s = {PORT_MIB}\n[[zones]]\nsubnet = \"{SUBNET_OF_CRITICAL}\"\nclass = \"first\"\n"
    );
    let serving: Serving = toml::from_str(&text).context("the configuration of the queue")?;
    let begun = Instant::now();
    let mut queue = Queue::new(&serving, begun);
    let pieces = case.wire.div_ceil(PIECE);
    // Pieces that are to be asked for, and those that are to come, of each endpoint.
    let mut left: Vec<(u64, u64)> = vec![(pieces.saturating_sub(WINDOW), pieces); endpoints as usize];
    let mut owner: HashMap<Place, u32> = HashMap::new();
    let mut now = begun + Duration::from_secs(case.scan_s);
    for number in 0..endpoints {
        for _ in 0..WINDOW.min(pieces) {
            owner.insert(queue.enter(address(number, critical), PIECE), number);
        }
    }
    let mut fetched: BTreeMap<u32, Instant> = BTreeMap::new();
    while fetched.len() < endpoints as usize {
        let (free, again) = queue.poll(now);
        for place in &free {
            let number = owner.remove(place).context("a piece has an owner")?;
            let (to_ask, to_come) = &mut left[number as usize];
            *to_come -= 1;
            if *to_come == 0 {
                fetched.insert(number, now);
            }
            if *to_ask > 0 {
                *to_ask -= 1;
                owner.insert(queue.enter(address(number, critical), PIECE), number);
            }
        }
        if free.is_empty() {
            now += again.context("somebody waits")?;
        }
    }
    let end = |number: &u32| (fetched[number] - begun).as_secs_f64() + case.read_back_s as f64;
    let latest = |some: &mut dyn Iterator<Item = u32>| some.map(|number| end(&number)).fold(0.0, f64::max);
    Ok((latest(&mut (0..endpoints)), latest(&mut (0..critical))))
}

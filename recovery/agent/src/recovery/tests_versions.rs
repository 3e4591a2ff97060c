//! A restore from sources of another version: said at once, the disk untouched.

use images::frames::encode_refusal;
use images::restore::mem::MemDisk;
use recovery_protocol::job::HoldReason;

use super::tests::{Plant, go_on, reason, run_and_hear};
use crate::testing::serve_plain;

#[test]
fn an_appliance_of_another_version_is_said_at_once_and_the_disk_is_untouched() {
    let plant = Plant::new();
    let address = serve_plain(|_| {
        let mut refusal = encode_refusal("this appliance is newer");
        refusal[4] = 2;
        (400, refusal)
    });
    let other = format!("http://{address}/v1/frames");
    let disk = MemDisk::new(vec![0xa5; plant.raw.len()], 512);
    let order = plant.order(vec![other.clone()]);
    let (outcome, reports) = run_and_hear(&plant, &order, &disk, Ok(()), go_on);
    assert_eq!(reason(outcome), HoldReason::AgentVersion);
    assert_eq!((reports.len(), disk.counts().operations), (0, 0));

    // One source of our version is enough.
    let order = plant.order(vec![other, plant.frames(|_| {})]);
    assert_eq!(run_and_hear(&plant, &order, &disk, Ok(()), go_on).0, Ok(()));
    assert!(disk.into_bytes() == plant.raw);
}

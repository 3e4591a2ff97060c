//! The transfer machine against model clients over a model network with loss, in virtual time.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::tftp::options::agree;

const LATENCY: Duration = Duration::from_millis(1);

/// A client that acts as the firmware named does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    /// Acknowledges every block that it did not expect (EDK2 `Mtftp4Rrq.c`).
    Edk2,
    /// Passes over what it did not expect and repeats its acknowledgement after its own time-out only.
    Patient,
}

struct ModelClient {
    habit: Habit,
    window: u64,
    expected: u64,
    in_window: u64,
    body: Vec<u8>,
    done: bool,
    retry_at: Instant,
}

const CLIENT_WAIT: Duration = Duration::from_secs(4);

impl ModelClient {
    fn ack(&mut self, now: Instant) -> Vec<u8> {
        self.in_window = 0;
        self.retry_at = now + CLIENT_WAIT;
        let block = (self.expected - 1) as u16;
        vec![0, 4, (block >> 8) as u8, block as u8]
    }

    fn on_packet(&mut self, raw: &[u8], block_len: usize, now: Instant) -> Option<Vec<u8>> {
        if raw[1] == 6 {
            return (self.expected == 1).then(|| self.ack(now));
        }
        let block = u16::from_be_bytes([raw[2], raw[3]]);
        if block != self.expected as u16 || self.done {
            return (self.habit == Habit::Edk2).then(|| self.ack(now));
        }
        self.body.extend_from_slice(&raw[4..]);
        self.expected += 1;
        self.in_window += 1;
        self.done = raw.len() - 4 < block_len;
        (self.done || self.in_window == self.window).then(|| self.ack(now))
    }
}

struct Run {
    outcome: Outcome,
    took: Duration,
    to_client: usize,
    to_server: usize,
    body: Vec<u8>,
    resent: u64,
}

/// Runs a transfer; `lost(n)` says whether the n-th packet on the wire, in either direction, is lost.
fn run(
    size: usize,
    options: &[(&str, &str)],
    habit: Habit,
    mut lost: impl FnMut(usize, &[u8]) -> bool,
) -> Run {
    let body: Vec<u8> = (0..size).map(|i| (i / 7 + i) as u8).collect();
    let raw: Vec<(&[u8], &[u8])> = options.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let agreed = agree(&raw, size as u64, 1468);
    let (block_len, window) = (usize::from(agreed.block_len), u64::from(agreed.window));
    let start = Instant::now();
    let mut now = start;
    let mut transfer = Transfer::new(body.into(), agreed, now);
    let retry_at = now + CLIENT_WAIT;
    let mut client =
        ModelClient { habit, window, expected: 1, in_window: 0, body: vec![], done: false, retry_at };
    let (mut to_client, mut to_server) = (VecDeque::new(), VecDeque::new());
    let (mut sent_client, mut sent_server, mut count) = (0, 0, 0);
    let mut buf = Vec::new();
    let mut steps = 0;
    while transfer.outcome().is_none() {
        steps += 1;
        assert!(steps < 200_000, "the transfer does not end");
        while transfer.next_packet(&mut buf) {
            sent_client += 1;
            count += 1;
            if !lost(count, &buf) {
                to_client.push_back((now + LATENCY, buf.clone()));
            }
        }
        let due = [
            to_client.front().map(|(at, _): &(Instant, Vec<u8>)| *at),
            to_server.front().map(|(at, _): &(Instant, Vec<u8>)| *at),
            Some(transfer.deadline()),
            (!client.done).then_some(client.retry_at),
        ];
        now = due.into_iter().flatten().min().expect("a deadline").max(now);
        let mut answers = Vec::new();
        if to_client.front().is_some_and(|(at, _)| *at <= now) {
            let (_, packet) = to_client.pop_front().expect("checked");
            answers.extend(client.on_packet(&packet, block_len, now));
        } else if to_server.front().is_some_and(|(at, _)| *at <= now) {
            let (_, packet): (Instant, Vec<u8>) = to_server.pop_front().expect("checked");
            transfer.on_packet(&packet, now);
        } else if transfer.deadline() <= now {
            transfer.on_timeout(now);
        } else {
            answers.push(client.ack(now));
        }
        for answer in answers {
            sent_server += 1;
            count += 1;
            if !lost(count, &answer) {
                to_server.push_back((now + LATENCY, answer));
            }
        }
    }
    Run {
        outcome: transfer.outcome().cloned().expect("ended"),
        took: now - start,
        to_client: sent_client,
        to_server: sent_server,
        body: client.body,
        resent: transfer.resent(),
    }
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i / 7 + i) as u8).collect()
}

const EDK2: &[(&str, &str)] = &[("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")];

#[test]
fn every_size_at_the_edges_arrives_whole() {
    for size in [1, 511, 512, 513, 1468, 1467, 1469, 1468 * 4, 1468 * 4 - 1, 1468 * 4 + 1, 100_000] {
        for options in
            [&[][..], EDK2, &[("blksize", "1024")], &[("windowsize", "16")], &[("windowsize", "64")]]
        {
            let run = run(size, options, Habit::Edk2, |_, _| false);
            assert_eq!(run.outcome, Outcome::Complete, "{size} {options:?}");
            assert_eq!(run.body, content(size), "{size} {options:?}");
            assert_eq!(run.resent, 0);
        }
    }
}

#[test]
fn d8_block_numbers_roll_over_to_zero() {
    let size = 70_000 * 8 + 3;
    let run = run(size, &[("blksize", "8"), ("windowsize", "16")], Habit::Edk2, |_, _| false);
    assert_eq!((run.outcome, run.body.len()), (Outcome::Complete, size));
    assert_eq!(run.body, content(size));
}

#[test]
fn d1_one_lost_block_costs_one_window_and_no_storm() {
    let size = 715 * 1468 - 10;
    let clean = run(size, EDK2, Habit::Edk2, |_, _| false);
    for victim in [101u16, 102, 103, 104] {
        let mut hit = false;
        let lossy = run(size, EDK2, Habit::Edk2, |_, raw| {
            let this = raw[1] == 3 && u16::from_be_bytes([raw[2], raw[3]]) == victim && !hit;
            hit |= this;
            this
        });
        assert_eq!(lossy.outcome, Outcome::Complete);
        assert_eq!(lossy.body, content(size));
        assert!(lossy.to_client <= clean.to_client + 8, "{victim}: {} packets", lossy.to_client);
        assert!(lossy.to_server <= clean.to_server + 8, "{victim}: {} acknowledgements", lossy.to_server);
        assert!(lossy.took <= clean.took + WAIT_FIRST + LATENCY * 4, "{victim}: {:?}", lossy.took);
    }
}

#[test]
fn d15_a_lost_last_block_of_a_window_costs_a_few_round_trips_and_not_the_timer() {
    let size = 400 * 1468;
    for options in [EDK2, &[("blksize", "1468")]] {
        for habit in [Habit::Edk2, Habit::Patient] {
            let clean = run(size, options, habit, |_, _| false);
            let mut hit = false;
            let lossy = run(size, options, habit, |_, raw| {
                let this = raw[1] == 3 && raw[2..4] == [0, 100] && !hit;
                hit |= this;
                this
            });
            assert_eq!((&lossy.outcome, lossy.body), (&Outcome::Complete, content(size)));
            assert!(lossy.took <= clean.took + PROBE_WAIT_MIN + LATENCY * 4, "{options:?}: {:?}", lossy.took);
            assert_eq!((lossy.resent, lossy.to_client), (1, clean.to_client + 1), "{options:?}");
        }
    }
}

#[test]
fn a_client_that_is_slow_for_once_gets_one_block_more_and_no_window() {
    let start = Instant::now();
    let options: &[(&[u8], &[u8])] = &[(b"windowsize", b"4"), (b"blksize", b"1468")];
    let mut transfer = Transfer::new(vec![1; 1 << 20].into(), agree(options, 1 << 20, 1468), start);
    let mut buf = Vec::new();
    let mut sent = |transfer: &mut Transfer| {
        let mut blocks = Vec::new();
        while transfer.next_packet(&mut buf) {
            blocks.push(buf[3]);
        }
        blocks
    };
    sent(&mut transfer);
    transfer.on_packet(&[0, 4, 0, 0], start);
    assert_eq!(sent(&mut transfer), [1, 2, 3, 4]);
    let slow = transfer.deadline();
    assert_eq!(slow, start + PROBE_WAIT_MIN);
    transfer.on_timeout(slow);
    assert_eq!(sent(&mut transfer), [4], "the last block alone");
    transfer.on_packet(&[0, 4, 0, 4], slow);
    assert_eq!(sent(&mut transfer), [5, 6, 7, 8]);
    transfer.on_packet(&[0, 4, 0, 4], slow);
    assert_eq!(sent(&mut transfer), Vec::<u8>::new(), "its answer to the probe is an echo");
    transfer.on_packet(&[0, 4, 0, 4], slow);
    assert_eq!(sent(&mut transfer), [5, 6, 7, 8], "the next one is a loss");
}

#[test]
fn a_batch_is_packets_of_one_length_and_a_shorter_last() {
    let now = Instant::now();
    let body: Vec<u8> = content(150 * 1468 + 10);
    let options: &[(&[u8], &[u8])] = &[(b"windowsize", b"64"), (b"blksize", b"1468")];
    let mut transfer = Transfer::new(body.clone().into(), agree(options, body.len() as u64, 1468), now);
    let (mut buf, mut got, mut batches) = (Vec::new(), Vec::new(), Vec::new());
    assert_eq!(transfer.next_batch(&mut buf), Some(buf.len()), "an option acknowledgement goes alone");
    assert_eq!(transfer.next_batch(&mut buf), None);
    let mut acked = 0_u16;
    while transfer.outcome().is_none() {
        transfer.on_packet(&[&[0, 4][..], &acked.to_be_bytes()].concat(), now);
        while let Some(each) = transfer.next_batch(&mut buf) {
            assert!(buf.len() <= BATCH_LEN_MAX);
            for packet in buf.chunks(each) {
                acked += 1;
                assert_eq!(packet[..4], [&[0, 3][..], &acked.to_be_bytes()].concat());
                got.extend_from_slice(&packet[4..]);
            }
            batches.push(buf.len().div_ceil(each));
        }
    }
    assert_eq!(got, body);
    assert_eq!(batches, [44, 20, 44, 20, 23], "65,000 bytes hold 44 of them");
}

#[test]
fn d1_a_lost_acknowledgement_does_not_double_the_rest_of_the_transfer() {
    let size = 400 * 1468;
    let clean = run(size, EDK2, Habit::Edk2, |_, _| false);
    let mut hit = false;
    let lossy = run(size, EDK2, Habit::Edk2, |_, raw| {
        let this = raw[1] == 4 && raw[3] == 100 && !hit;
        hit |= this;
        this
    });
    assert_eq!(lossy.body, content(size));
    assert!(lossy.to_client <= clean.to_client + 12, "{} against {}", lossy.to_client, clean.to_client);
}

#[test]
fn d2_d3_d18_any_error_from_the_peer_ends_the_transfer_and_a_probe_is_no_failure() {
    let now = Instant::now();
    let start = |options: &[(&[u8], &[u8])]| {
        let mut transfer = Transfer::new(vec![7; 5000].into(), agree(options, 5000, 1468), now);
        let mut buf = Vec::new();
        while transfer.next_packet(&mut buf) {}
        transfer
    };
    let mut probe = start(&[(b"tsize", b"0")]);
    probe.on_packet(b"\0\x05\0\x08User aborted the transfer\0", now);
    assert_eq!(probe.outcome(), Some(&Outcome::Aborted(Abort::Probe)));
    let mut buf = Vec::new();
    probe.on_timeout(now + WAIT_MAX);
    assert!(!probe.next_packet(&mut buf), "nothing more is sent");

    let mut grub = start(&[]);
    grub.on_packet(&[0, 4, 0, 1], now);
    grub.on_packet(b"\0\x05\0\0closed\0", now);
    assert_eq!(grub.outcome(), Some(&Outcome::Aborted(Abort::Probe)));

    let mut full = start(&[]);
    full.on_packet(&[0, 4, 0, 1], now);
    full.on_packet(b"\0\x05\0\x03disk\x1bfull\0", now);
    let reason = Abort::ByPeer { code: 3, message: "disk?full".into() };
    assert_eq!(full.outcome(), Some(&Outcome::Aborted(reason)));
}

#[test]
fn d9_a_missing_last_acknowledgement_is_success_after_two_repeats() {
    let now = Instant::now();
    let mut transfer = Transfer::new(vec![1; 600].into(), agree(&[], 600, 1468), now);
    let mut buf = Vec::new();
    let mut sent = 0;
    let mut drain = |t: &mut Transfer, sent: &mut u32| {
        while t.next_packet(&mut buf) {
            *sent += 1;
        }
    };
    drain(&mut transfer, &mut sent);
    transfer.on_packet(&[0, 4, 0, 1], now);
    while transfer.outcome().is_none() {
        drain(&mut transfer, &mut sent);
        transfer.on_timeout(transfer.deadline());
    }
    assert_eq!((transfer.outcome(), sent), (Some(&Outcome::Complete), 4));
    assert_eq!(transfer.bytes_confirmed(), 600);
}

#[test]
fn an_address_that_never_answers_gets_three_packets() {
    for options in [&[][..], &[(&b"windowsize"[..], &b"16"[..]), (b"blksize", b"1468")]] {
        let now = Instant::now();
        let mut transfer = Transfer::new(vec![1; 1 << 20].into(), agree(options, 1 << 20, 1468), now);
        let (mut buf, mut sent) = (Vec::new(), 0);
        while transfer.outcome().is_none() {
            while transfer.next_packet(&mut buf) {
                sent += 1;
            }
            transfer.on_timeout(transfer.deadline());
        }
        assert_eq!(sent, 3);
        assert!(matches!(transfer.outcome(), Some(Outcome::Aborted(Abort::Silent { .. }))));
    }
}

#[test]
fn d15_a_peer_that_goes_silent_gets_ever_less_and_ever_later() {
    let start = Instant::now();
    let options: &[(&[u8], &[u8])] = &[(b"windowsize", b"16")];
    let mut transfer = Transfer::new(vec![1; 1 << 20].into(), agree(options, 1 << 20, 1468), start);
    let mut buf = Vec::new();
    while transfer.next_packet(&mut buf) {}
    transfer.on_packet(&[0, 4, 0, 0], start);
    let (mut bursts, mut now) = (vec![], start);
    while transfer.outcome().is_none() {
        let mut burst = 0;
        while transfer.next_packet(&mut buf) {
            burst += 1;
        }
        bursts.push(burst);
        now = transfer.deadline();
        transfer.on_timeout(now);
    }
    assert_eq!(bursts, [16, 1, 16, 8, 4, 2, 1, 1], "the second is the probe");
    assert!(now - start < Duration::from_secs(16), "{:?}", now - start);
    assert_eq!(transfer.outcome(), Some(&Outcome::Aborted(Abort::Silent { tries: TRIES_MAX })));
}

#[test]
fn a_timeout_option_caps_the_waits() {
    let now = Instant::now();
    let options: &[(&[u8], &[u8])] = &[(b"timeout", b"1")];
    let mut transfer = Transfer::new(vec![1; 2000].into(), agree(options, 2000, 1468), now);
    transfer.on_packet(&[0, 4, 0, 0], now);
    for _ in 0..4 {
        let before = transfer.deadline();
        transfer.on_timeout(before);
        assert!(transfer.deadline() - before <= Duration::from_secs(1));
    }
}

#[test]
fn stale_and_impossible_acknowledgements_change_nothing() {
    let now = Instant::now();
    let mut transfer = Transfer::new(vec![1; 10_000].into(), agree(&[], 10_000, 1468), now);
    let mut buf = Vec::new();
    assert!(transfer.next_packet(&mut buf));
    for wild in [2u16, 500, 40_000, 65_535] {
        transfer.on_packet(&[0, 4, (wild >> 8) as u8, wild as u8], now);
        assert!(!transfer.next_packet(&mut buf), "{wild}");
    }
    transfer.on_packet(&[0, 4, 0, 1], now);
    assert!(transfer.next_packet(&mut buf));
    transfer.on_packet(&[0, 4, 0, 1], now);
    transfer.on_packet(&[0, 4, 0, 0], now);
    assert!(!transfer.next_packet(&mut buf), "lockstep never answers a repeated acknowledgement");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_loss_pattern_ends_in_the_whole_file_or_in_a_named_abort(
        size in 0usize..60_000,
        block in prop::sample::select(vec!["512", "1024", "1468"]),
        window in prop::sample::select(vec!["1", "4", "16"]),
        edk2 in any::<bool>(),
        pattern in proptest::collection::vec(any::<u8>(), 64),
        rate in 0u8..64,
    ) {
        let size = size + 1;
        let habit = if edk2 { Habit::Edk2 } else { Habit::Patient };
        let options = [("blksize", block), ("windowsize", window)];
        let run = run(size, &options, habit, |n, _| {
            pattern[n % 64].wrapping_add((n / 64) as u8).wrapping_mul(37) < rate
        });
        match run.outcome {
            Outcome::Complete => {
                // The client may have left before its last acknowledgement arrived; what it has is a true prefix.
                prop_assert!(content(size).starts_with(&run.body));
            }
            Outcome::Aborted(Abort::Silent { .. }) => {}
            Outcome::Aborted(other) => prop_assert!(false, "{:?}", other),
        }
        let blocks = size / block.parse::<usize>().unwrap_or(512) + 1;
        prop_assert!(run.to_client < blocks * 12 + 200, "{} packets for {} blocks", run.to_client, blocks);
    }

    #[test]
    fn random_packets_never_panic_the_machine(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..8), 0..200),
        size in 1usize..5000,
        window in 1u16..20,
    ) {
        let text = window.to_string();
        let now = Instant::now();
        let options: &[(&[u8], &[u8])] = &[(b"windowsize", text.as_bytes())];
        let mut transfer = Transfer::new(vec![0; size].into(), agree(options, size as u64, 1468), now);
        let mut buf = Vec::new();
        for (i, mut packet) in packets.into_iter().enumerate() {
            if i % 2 == 0 && packet.len() >= 4 {
                packet[..3].copy_from_slice(&[0, 4, 0]);
            }
            while transfer.next_packet(&mut buf) {
                prop_assert!(buf.len() <= 1472);
            }
            transfer.on_packet(&packet, now);
            if i % 5 == 0 {
                transfer.on_timeout(transfer.deadline());
            }
        }
    }
}

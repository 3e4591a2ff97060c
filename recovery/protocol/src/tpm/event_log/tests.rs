//! Event logs under random input: what is written is read again, and rubbish is refused by name.

use proptest::prelude::*;

use super::*;

/// Writes a log with the SHA-256 bank, and SHA-1 beside it where `sha1` is set.
fn encode(events: &[Event], sha1: bool) -> Vec<u8> {
    let mut spec = SPEC_ID.to_vec();
    spec.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    spec.extend(if sha1 { vec![2, 0, 0, 0, 4, 0, 20, 0] } else { vec![1, 0, 0, 0] });
    spec.extend([0x0b, 0, 32, 0, 0]);
    let mut log = [[0; 4], 3_u32.to_le_bytes()].concat();
    log.extend([0; 20]);
    log.extend(u32::try_from(spec.len()).unwrap().to_le_bytes());
    log.extend(spec);
    for event in events {
        log.extend(u32::from(event.pcr).to_le_bytes());
        log.extend(event.kind.0.to_le_bytes());
        log.extend(if sha1 { vec![2, 0, 0, 0, 4, 0] } else { vec![1, 0, 0, 0] });
        if sha1 {
            log.extend([0xaa; 20]);
        }
        log.extend([0x0b, 0]);
        log.extend(event.digest.as_bytes());
        log.extend(u32::try_from(event.data.len()).unwrap().to_le_bytes());
        log.extend(&event.data);
    }
    log
}

fn event(pcr: u8, kind: u32, data: &[u8]) -> Event {
    Event { pcr, kind: EventType(kind), digest: Sha256::of(data), data: data.to_vec() }
}

fn locality(value: &[u8]) -> Event {
    event(0, NO_ACTION, &[&STARTUP_LOCALITY[..], value].concat())
}

#[test]
fn a_log_of_several_banks_comes_back() {
    let events = vec![event(0, 8, b"1.0"), event(4, 0x8000_0003, b"shim"), event(9, 0xd, b"/vmlinuz\0")];
    for sha1 in [false, true] {
        let log = EventLog::parse(&encode(&events, sha1)).unwrap();
        assert_eq!(log.events, events);
    }
}

#[test]
fn replay_starts_right_and_skips_no_action() {
    let log =
        EventLog::parse(&encode(&[locality(&[3]), event(0, 8, b"v"), event(16, NO_ACTION, b"x")], true))
            .unwrap();
    let pcrs = log.replay();
    let mut start = Sha256::ZERO;
    start.0.0[31] = 3;
    assert_eq!(pcrs[0], start.extended(&Sha256::of(b"v")));
    assert_eq!(pcrs[16], Sha256::ZERO);
    assert_eq!((pcrs[16], pcrs[17], pcrs[22], pcrs[23]), {
        let ones = Sha256::from([0xff; 32]);
        (Sha256::ZERO, ones, ones, Sha256::ZERO)
    });
}

#[test]
fn a_misplaced_or_malformed_locality_is_refused() {
    let cases = [
        (vec![event(0, 8, b"v"), locality(&[3])], 2),
        (vec![locality(&[3]), locality(&[3])], 2),
        (vec![locality(&[7])], 1),
        (vec![locality(&[])], 1),
        (vec![locality(&[3, 0])], 1),
    ];
    for (events, at) in cases {
        assert_eq!(EventLog::parse(&encode(&events, false)), Err(LogError::Locality { event: at }));
    }
}

#[test]
fn each_cut_is_short_except_between_events() {
    let events = [event(0, 8, b"1.0"), event(4, 4, &[0; 4])];
    let (whole, header, one) =
        (encode(&events, true), encode(&[], true).len(), encode(&events[..1], true).len());
    for cut in 0..whole.len() {
        let parsed = EventLog::parse(&whole[..cut]);
        if cut == header || cut == one {
            assert!(parsed.is_ok(), "{cut}");
        } else {
            assert!(matches!(parsed, Err(LogError::Short { .. })), "{cut}: {parsed:?}");
        }
    }
}

#[test]
fn each_wrong_field_has_its_own_error() {
    let log = encode(&[event(4, 4, &[0; 4])], true);
    let header = encode(&[], true).len();
    let parse = |at: usize, bytes: &[u8]| {
        let mut bad = log.clone();
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        EventLog::parse(&bad).unwrap_err()
    };
    assert_eq!(parse(32, b"Spec ID Event02\0"), LogError::NotCryptoAgile);
    assert_eq!(parse(4, &[5]), LogError::NotCryptoAgile);
    assert!(matches!(parse(56, &[17]), LogError::Header(_)), "more algorithms than the TPM has");
    assert!(matches!(parse(60, &[0x0b, 0, 32, 0]), LogError::Header(_)), "SHA-256 twice");
    assert!(matches!(parse(64, &[0x0c, 0, 48, 0]), LogError::Header(_)), "no SHA-256");
    assert_eq!(parse(header, &[24]), LogError::Pcr { event: 1, pcr: 24 });
    assert_eq!(parse(header + 8, &[1]), LogError::Short { event: 1, at: log.len() - 36 - 2 });
    assert_eq!(parse(header + 12, &[0x0d, 0]), LogError::Algorithm { event: 1, algorithm: 0x0d });
    assert_eq!(parse(header + 34, &[0x04, 0]), LogError::Algorithm { event: 1, algorithm: 4 });
    assert_eq!(EventLog::parse(&vec![0; MAX_BYTES + 1]), Err(LogError::TooLong(MAX_BYTES + 1)));
    assert!(matches!(EventLog::parse(&[]), Err(LogError::Short { event: 0, at: 0 })));
}

#[test]
fn an_event_without_sha256_is_refused() {
    let mut log = encode(&[], true);
    log.extend([4, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 4, 0]);
    log.extend([0; 20]);
    log.extend([0; 4]);
    assert_eq!(EventLog::parse(&log), Err(LogError::NoSha256 { event: 1 }));
}

#[test]
fn secure_boot_variable_is_read_whole_or_not_at_all() {
    let mut data = vec![7; 16];
    data.extend(10_u64.to_le_bytes());
    data.extend(1_u64.to_le_bytes());
    data.extend("SecureBoot".encode_utf16().flat_map(u16::to_le_bytes));
    data.push(1);
    let variable = Variable::parse(&data).unwrap();
    assert_eq!((variable.name.as_str(), variable.value), ("SecureBoot", &[1_u8][..]));
    for cut in 0..data.len() {
        assert_eq!(Variable::parse(&data[..cut]), None);
    }
    assert_eq!(Variable::parse(&[&data[..], &[0]].concat()), None);
    data[16..24].fill(0xff);
    assert_eq!(Variable::parse(&data), None);
}

#[test]
fn text_of_an_event_is_safe_to_show() {
    let wide: Vec<u8> = "recovery.efi\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(event(12, 0xd, &wide).text(), "recovery.efi");
    assert_eq!(event(8, 0xd, b"a\x1b[2Jb\xff\0").text(), "a[2Jb");
    assert_eq!(event(8, 0xd, &[b'x'; 500]).text().len(), 120);
    assert_eq!(event(9, 6, b"\xed\x22;\x8f\x04\0\0\0text").text(), "text");
}

#[test]
fn a_program_is_named_by_its_path() {
    let program = 0x8000_0003;
    let load = |nodes: &[(u8, u8, &[u8])]| {
        let mut data = vec![0; 32];
        for (kind, subtype, node) in nodes {
            data.extend([*kind, *subtype]);
            data.extend(u16::try_from(node.len() + 4).unwrap().to_le_bytes());
            data.extend(*node);
        }
        data
    };
    let path: Vec<u8> = "\\EFI\\BOOT\\BOOTX64.EFI\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let (disk, end) = ((3, 18, &[0; 6][..]), (0x7f, 0xff, &[][..]));
    assert_eq!(event(4, program, &load(&[disk, (4, 4, &path), end])).text(), r"\EFI\BOOT\BOOTX64.EFI");
    let mac = (3, 11, &[0; 33][..]);
    assert_eq!(event(4, program, &load(&[mac, end])).text(), "from the network");
    let uri = (3, 24, &b"http://10.0.0.1/recovery.efi"[..]);
    assert_eq!(event(4, program, &load(&[mac, uri, end])).text(), "http://10.0.0.1/recovery.efi");
    assert_eq!(event(4, program, &load(&[end])).text(), "from memory");
    let mut looped = load(&[mac, end]);
    looped[34] = 0;
    assert!(event(4, program, &looped).text().len() <= 120, "a node without length ends the walk");
}

fn any_event() -> impl Strategy<Value = Event> {
    (0_u8..24, 4_u32..20, any::<[u8; 32]>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
        |(pcr, kind, digest, data)| Event { pcr, kind: EventType(kind), digest: Sha256::from(digest), data },
    )
}

proptest! {
    #[test]
    fn parsing_never_panics(tail in prop::collection::vec(any::<u8>(), 0..200), sha1: bool) {
        let _ = EventLog::parse(&tail);
        let _ = EventLog::parse(&[encode(&[], sha1), tail.clone()].concat());
        let _ = Variable::parse(&tail);
        for kind in [6, 0xd, 0x8000_0001, 0x8000_0003] {
            let _ = event(4, kind, &tail).text();
        }
    }

    #[test]
    fn any_log_comes_back(events in prop::collection::vec(any_event(), 0..20), sha1: bool) {
        prop_assert_eq!(EventLog::parse(&encode(&events, sha1)).unwrap().events, events);
    }

    #[test]
    fn another_digest_order_or_count_gives_another_pcr(
        mut events in prop::collection::vec(any_event(), 2..8), pick: prop::sample::Index, how in 0..3,
    ) {
        events.iter_mut().for_each(|e| e.pcr = 4);
        let before = EventLog { events: events.clone(), startup_locality: 0 }.replay()[4];
        let at = pick.index(events.len() - 1);
        match how {
            0 => { events.remove(at); }
            1 => events[at].digest.0.0[0] ^= 1,
            _ => {
                prop_assume!(events[at].digest != events[at + 1].digest);
                events.swap(at, at + 1);
            }
        }
        prop_assert_ne!(EventLog { events, startup_locality: 0 }.replay()[4], before);
    }
}

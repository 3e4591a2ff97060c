//! Sheets as people and spreadsheets write them, and back again.

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use recovery_protocol::operator::Power;

use super::*;

fn one(sheet: &str) -> Result<Record, Vec<ImportFault>> {
    let (rows, faults) = read(sheet.as_bytes());
    if faults.is_empty() { rows[0].over(&Record::default()) } else { Err(faults) }
}

#[test]
fn what_spreadsheets_do_to_a_sheet_is_read_all_the_same() {
    let plain = one("name,macs,line,disk_serial\npress-01,52:54:00:00:00:01,3,\"S,1\"\n").unwrap();
    assert_eq!((plain.macs.len(), plain.labels.to_string().as_str()), (1, "line=3"));
    assert_eq!(plain.disk_serial.as_deref(), Some("S,1"));
    for spoiled in [
        "\u{feff}name,macs,line,disk_serial\r\npress-01,52:54:00:00:00:01,3,\"S,1\"\r\n",
        "name;macs;line;disk_serial\r\n;;;\r\npress-01;52-54-00-00-00-01;3;S,1\r\n",
        "sep=;\r\nname;macs;line;disk_serial\r\npress-01;5254.0000.0001;3;S,1",
        "Name\tMACs\tLine\tDisk Serial\npress-01\t525400000001\t3\t'S,1\n".replace("'S", "S").as_str(),
        "disk-serial,line,name,macs\n\"S,1\", 3 ,press-01,\" 52:54:00:00:00:01 52-54-00-00-00-01\"\n",
    ] {
        assert_eq!(one(spoiled).as_ref(), Ok(&plain), "{spoiled}");
    }
}

#[test]
fn each_wrong_cell_is_named_with_its_line_and_remedy() {
    let head = "name,macs,blueprint,kind,safety_class,chain,drill_safe,network,bmc,bmc_user,bmc_password_file,labels";
    for (cells, column, says) in [
        ("Press 1,,,,,,,,,,,", "name", "not an endpoint name"),
        ("a,5.254E+11,,,,,,,,,,", "macs", "made a number of"),
        ("a,5254000000,,,,,,,,,,", "macs", "made a number of"),
        ("a,52:54,,,,,,,,,,", "macs", "not a MAC address"),
        ("a,,,panel,,,,,,,,", "kind", "write one of"),
        ("a,,,,4,,,,,,,", "safety_class", "no safety class"),
        ("a,,,,,grub,,,,,,", "chain", "no boot chain"),
        ("a,,,,,,maybe,,,,,", "drill_safe", "neither yes nor no"),
        ("a,,,,,,,10.7.3.21/24,,,,", "network", "does not belong here"),
        ("a,,,,,,,52:54:00:00:00:01 via 10.7.3.0/24,,,,", "network", "does not belong here"),
        ("a,,,,,,,,10.0.0.9:x,u,f,", "bmc", "no BMC address"),
        ("a,,,,,,,,10.0.0.9,u,,", "bmc", "user and password file"),
        ("a,,,,,,,,http://10.0.0.9,u,f,", "bmc", "in the clear"),
        ("a,,,,,,,,wake:x,,,", "bmc", "no broadcast address"),
        ("a,,,,,,,,,,,kind=hmi", "labels", "asked of the record"),
        ("a,,,", "", "4 cells"),
    ] {
        let sheet = format!("{head}\nfine,52:54:00:00:00:09,hmi,,,,,,,,,\n{cells}\n");
        let (rows, mut faults) = read(sheet.as_bytes());
        faults.extend(rows.iter().filter_map(|row| row.over(&Record::default()).err()).flatten());
        assert_eq!(faults.len(), 1, "{cells}: {faults:?}");
        assert_eq!((faults[0].line, faults[0].column.as_str()), (3, column), "{cells}");
        assert!(faults[0].what.contains(says) || faults[0].remedy.contains(says), "{faults:?}");
        assert!(!faults[0].remedy.is_empty());
    }
    let two = format!("{head}\na,x,,y,,,,,,,,\n");
    assert_eq!(read(two.as_bytes()).0[0].over(&Record::default()).unwrap_err().len(), 2);
    for (sheet, says) in [
        (&b""[..], "empty"),
        (b"\n\n", "empty"),
        (b"macs,blueprint\n", "no column is named `name`"),
        (b"name,colour\n", "no column `colour`"),
        (b"name,Name\n", "two columns"),
        (b"\xff\xfen\0a\0", "UTF-16"),
        (b"name,blueprint\na,gr\xfcn\n", "Windows-1252"),
    ] {
        let (rows, faults) = read(sheet);
        assert!(
            rows.is_empty() && faults.iter().any(|fault| fault.what.contains(says)),
            "{says}: {faults:?}"
        );
    }
    assert_eq!(read(b"name,blueprint\na,b\nc,gr\xfcn\n").1[0].line, 3);
    for end in ["\n", "\r\n", "\r"] {
        let sheet = ["sep=,\nname,blueprint", "a,\"two", "lines\"", "", "B,c"].join(end);
        let (rows, faults) = read(sheet.as_bytes());
        assert_eq!((rows[0].line, faults[0].line), (3, 6), "{sheet:?}");
    }
}

#[test]
fn no_cell_that_is_written_is_run_by_a_spreadsheet() {
    let id = "press-01".parse().unwrap();
    for serial in ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "'quoted", "'=x", "plain", "a\nb"] {
        let record = Record { disk_serial: Some(serial.to_owned()), ..Record::default() };
        let sheet = write([(&id, &record)].into_iter());
        let mut reader = csv::Reader::from_reader(sheet.as_bytes());
        let line = reader.records().next().unwrap().unwrap();
        assert!(line.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@'])), "{sheet}");
        assert_eq!(
            read(sheet.as_bytes()).0[0].over(&Record::default()).unwrap().disk_serial.as_deref(),
            Some(serial)
        );
    }
}

#[test]
fn a_missing_column_leaves_and_an_empty_cell_takes_off() {
    let known = Record {
        disk_serial: Some("S1".into()),
        labels: "line=3,site=a,role=x".parse().unwrap(),
        group: "line".into(),
        ..Record::default()
    };
    let over = |sheet: &str| read(sheet.as_bytes()).0[0].over(&known).unwrap();
    assert_eq!(over("name\na\n"), known);
    assert_eq!(over("name,disk_serial\na,\n").disk_serial, None);
    assert_eq!(over("name,site,labels\na,,role=y\n").labels.to_string(), "line=3,role=y");
    assert_eq!(over("name,group\na,\n").group, "default");
}

fn text() -> impl Strategy<Value = String> {
    // Whatever a person may have typed, without blanks at the ends, which are cut everywhere.
    prop_oneof!["[=+@'\"a-z,;-]{1,8}", "[!-~]([ -~\n]{0,8}[!-~])?"]
}

fn record() -> impl Strategy<Value = Record> {
    let macs = prop::collection::btree_set(any::<[u8; 6]>().prop_map(MacAddr), 1..4);
    let power = prop_oneof![
        Just(Power::Person),
        Just(Power::InBand),
        ("[a-z0-9.]{1,9}", any::<u16>(), text(), text()).prop_map(|(host, port, user, password_file)| {
            Power::Ipmi { host, port, user, password_file }
        }),
        ("[a-z0-9.]{1,9}", prop::option::of("[0-9a-f]{64}"), text(), text()).prop_map(
            |(host, certificate_sha256, user, password_file)| {
                Power::Redfish { url: format!("https://{host}"), user, password_file, certificate_sha256 }
            }
        ),
        any::<[u8; 4]>().prop_map(|to| Power::WakeOnLan { to: to.into() }),
        Just(Power::Outlet { at: "netio+http://gs@10.8.0.40/4#/keys/pdu".parse().unwrap() }),
        ("[a-z0-9.]{1,9}", text(), text()).prop_map(|(host, user, password_file)| Power::Several {
            of: vec![
                Power::VirtualMedia {
                    url: format!("https://{host}"),
                    user: user.clone(),
                    password_file: password_file.clone(),
                    certificate_sha256: None,
                },
                Power::Ipmi { host, port: 623, user, password_file },
                Power::Outlet { at: "apc+snmp://10.8.0.40/3#/keys/snmp.conf".parse().unwrap() },
                Power::Person,
            ],
        }),
    ];
    let word = "[a-z0-9]([a-z0-9._-]{0,6}[a-z0-9])?";
    let labels = prop::collection::btree_map(prop_oneof!["line", "site", "cell", "x[a-z]{1,5}"], word, 0..5)
        .prop_map(|labels| Labels::try_from(labels).unwrap());
    let address = (any::<[u8; 4]>(), 0..=32_u8);
    let interface = (
        any::<[u8; 6]>(),
        prop::collection::vec(address, 0..3),
        prop::collection::vec(any::<[u8; 4]>(), 0..2),
        prop::collection::vec(any::<[u8; 16]>(), 0..2),
    )
        .prop_map(|(mac, addresses, gateways, dns)| InterfaceSettings {
            mac: MacAddr(mac),
            addresses: addresses
                .into_iter()
                .map(|(address, prefix)| InterfaceAddress { address: address.into(), prefix })
                .collect(),
            gateways: gateways.into_iter().map(IpAddr::from).collect(),
            dns: dns.into_iter().map(IpAddr::from).collect(),
        });
    let settings = (prop::option::of(word), prop::collection::vec(interface, 0..3))
        .prop_map(|(hostname, interfaces)| EndpointSettings { hostname, interfaces });
    let kind = prop::option::of(prop::sample::select(Kind::ALL.to_vec()));
    let chain = prop::sample::select(CHAINS.map(|(_, chain)| chain).to_vec());
    let more = (0..=3_u8, prop::option::of(word), prop::option::of(text()), any::<bool>());
    (macs, text(), text(), power, labels, settings, kind, chain, more).prop_map(
        |(macs, blueprint, group, power, labels, settings, kind, chain, more)| Record {
            macs: macs.into_iter().collect(),
            blueprint,
            group,
            chain,
            disk_serial: more.2,
            drill_safe: more.3,
            power,
            settings,
            labels,
            kind,
            safety_class: more.0,
            redundancy: more.1,
        },
    )
}

proptest! {
    #[test]
    fn what_is_exported_is_imported_as_the_same(records in prop::collection::vec((record(), record()), 0..4)) {
        let ids: Vec<EndpointId> = (0..records.len()).map(|n| format!("press-{n}").parse().unwrap()).collect();
        let sheet = write(ids.iter().zip(records.iter().map(|(record, _)| record)));
        let (rows, faults) = read(sheet.as_bytes());
        assert_eq!((rows.len(), faults), (records.len(), Vec::new()));
        // Over anything that may have been on record before.
        for (row, (record, before)) in rows.iter().zip(&records) {
            assert_eq!(row.over(before).as_ref(), Ok(record), "{sheet}");
        }
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..64), tail in "[,;\"\nname=']{0,40}") {
        let (rows, faults) = read(&[&bytes[..], tail.as_bytes()].concat());
        assert!(faults.iter().all(|fault| fault.line > 0 && !fault.remedy.is_empty()));
        let _: Vec<_> = rows.iter().map(|row| row.over(&Record::default())).collect();
        let (rows, _) = read(format!("name,macs,network,labels\na,{tail}").as_bytes());
        let _: Vec<_> = rows.iter().map(|row| row.over(&Record::default())).collect();
    }
}

//! A sheet of endpoints: CSV (RFC 4180) as spreadsheets write and spoil it, read with every wrong cell named, written so that a
//! spreadsheet does no harm with it.
//!
//! A column that is missing leaves what is on record; an empty cell takes it off. The order of columns is free. What spreadsheets do, and
//! what is made of it:
//!
//! | trap | here |
//! |---|---|
//! | a byte order mark, `sep=;`, CRLF, `;` or tabs for commas, rows of empty cells | read |
//! | UTF-16, Windows-1252 | named, with how to save it |
//! | `525400123456` became `5.254E+11` | named: the column must be text |
//! | a cell that begins with `=`, `+`, `-`, `@` is run as a formula | written with a `'` in front, which is taken away again |
//!
//! It must never: know what is on record, or decide.

use std::{collections::BTreeMap, net::IpAddr};

use recovery_protocol::{
    EndpointId, MacAddr,
    operator::{Chain, ImportFault, Kind, Power},
    selector::{Labels, PLACE_KEYS},
    settings::{EndpointSettings, InterfaceAddress, InterfaceSettings},
};

use crate::db::endpoint::Record;

/// Lines of a sheet, at most.
const LINES_MOST: usize = 20_000;
/// The columns, in the order in which they are written.
const COLUMNS: [&str; 19] = [
    "name",
    "macs",
    "blueprint",
    "group",
    "kind",
    "site",
    "line",
    "cell",
    "labels",
    "safety_class",
    "redundancy",
    "chain",
    "disk_serial",
    "drill_safe",
    "hostname",
    "network",
    "ipmi",
    "ipmi_user",
    "ipmi_password_file",
];

/// One line of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its line in the file, from 1.
    pub line: u64,
    /// The endpoint that it is about.
    pub id: EndpointId,
    cells: BTreeMap<&'static str, String>,
}

fn fault(line: u64, column: &str, what: impl Into<String>, remedy: impl Into<String>) -> ImportFault {
    ImportFault { line, column: column.to_owned(), what: what.into(), remedy: remedy.into() }
}

/// The lines of a sheet, and what is wrong with others.
#[must_use]
pub fn read(bytes: &[u8]) -> (Vec<Row>, Vec<ImportFault>) {
    let text = match decoded(bytes) {
        Ok(text) => text,
        Err(fault) => return (Vec::new(), vec![fault]),
    };
    let (hint, body) = separator_hint(text);
    let first = body.lines().next().unwrap_or_default();
    let separator = hint.unwrap_or_else(|| separator_of(first));
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .has_headers(false)
        .from_reader(body.as_bytes());
    // The line with the hint is a line, too.
    let before = u64::from(hint.is_some());
    let (mut rows, mut faults, mut columns) = (Vec::new(), Vec::new(), None);
    let (mut at, mut line) = (0, 1 + before);
    for record in reader.records() {
        // The text is UTF-8 and lines may have any length: nothing else can be wrong for the reader.
        let Ok(record) = record else { continue };
        // The reader's own line numbers are one too low behind a CRLF.
        let begin = record.position().map_or(0, |position| position.byte() as usize);
        let begin = begin + body.as_bytes()[begin..].iter().take_while(|byte| b"\r\n".contains(byte)).count();
        line += line_ends(&body.as_bytes()[at..begin]);
        at = begin;
        let cells: Vec<String> = record.iter().map(unescaped).collect();
        if cells.iter().all(String::is_empty) {
            continue;
        }
        let Some(columns) = &columns else {
            match headings(line, &cells) {
                Ok(found) => columns = Some(found),
                Err(found) => return (rows, found),
            }
            continue;
        };
        if rows.len() + faults.len() >= LINES_MOST {
            let what = format!("the sheet has more than {LINES_MOST} lines");
            faults.push(fault(line, "", what, "split it"));
            break;
        }
        match row(line, columns, cells) {
            Ok(row) => rows.push(row),
            Err(fault) => faults.push(fault),
        }
    }
    if columns.is_none() {
        let remedy = format!("begin with the names of the columns: {}", COLUMNS.join(","));
        faults.push(fault(1, "", "the sheet is empty", remedy));
    }
    (rows, faults)
}

fn decoded(bytes: &[u8]) -> Result<&str, ImportFault> {
    let remedy = "save it as \"CSV UTF-8\"";
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault(1, "", "the file is UTF-16", remedy));
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        fault(line as u64, "", "the file is not UTF-8; it may be Windows-1252", remedy)
    })
}

/// `sep=;` in the first line is a spreadsheet's own word for the separator.
fn separator_hint(text: &str) -> (Option<u8>, &str) {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    match first.trim_end_matches('\r').as_bytes() {
        [b's', b'e', b'p', b'=', separator] if separator.is_ascii() => (Some(*separator), rest),
        _ => (None, text),
    }
}

/// Line ends in a part of a text that does not end within a CRLF.
fn line_ends(bytes: &[u8]) -> u64 {
    let ends =
        |(n, byte): (usize, &u8)| *byte == b'\n' || (*byte == b'\r' && bytes.get(n + 1) != Some(&b'\n'));
    bytes.iter().enumerate().filter(|pair| ends(*pair)).count() as u64
}

/// What stands most often between the names of the columns.
fn separator_of(first: &str) -> u8 {
    let count = |separator: &u8| first.bytes().filter(|byte| byte == separator).count();
    [b';', b'\t', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

fn headings(line: u64, cells: &[String]) -> Result<Vec<&'static str>, Vec<ImportFault>> {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for cell in cells {
        let name = cell.to_ascii_lowercase().replace([' ', '-'], "_");
        match COLUMNS.into_iter().find(|column| *column == name) {
            Some(column) if found.contains(&column) => {
                faults.push(fault(line, column, format!("there are two columns {column}"), "keep one"));
            }
            Some(column) => found.push(column),
            None => {
                let remedy = format!("name it one of {}, or take it out", COLUMNS.join(", "));
                faults.push(fault(line, cell, format!("there is no column `{cell}`"), remedy));
            }
        }
    }
    if !found.contains(&"name") {
        let remedy = format!("begin with the names of the columns: {}", COLUMNS.join(","));
        faults.push(fault(line, "name", "no column is named `name`", remedy));
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn row(line: u64, columns: &[&'static str], cells: Vec<String>) -> Result<Row, ImportFault> {
    if cells.len() != columns.len() {
        let what = format!("the line has {} cells, and there are {} columns", cells.len(), columns.len());
        return Err(fault(line, "", what, "put a cell that has a separator in it into quotes"));
    }
    let mut cells: BTreeMap<&'static str, String> = columns.iter().copied().zip(cells).collect();
    let name = cells.remove("name").unwrap_or_default();
    let remedy = "use a-z, 0-9 and `-`, at most 63";
    let id = name
        .parse()
        .map_err(|error: recovery_protocol::ids::IdError| fault(line, "name", error.to_string(), remedy))?;
    Ok(Row { line, id, cells })
}

impl Row {
    /// What is to be on record, over what is.
    ///
    /// # Errors
    /// Every cell that is wrong.
    pub fn over(&self, known: &Record) -> Result<Record, Vec<ImportFault>> {
        let mut record = known.clone();
        let mut faults = Vec::new();
        for (column, cell) in &self.cells {
            if let Err((what, remedy)) = set(&mut record, column, cell) {
                faults.push(fault(self.line, column, what, remedy));
            }
        }
        if let Err((what, remedy)) = self.power(&mut record) {
            faults.push(fault(self.line, "ipmi", what, remedy));
        }
        if faults.is_empty() { Ok(record) } else { Err(faults) }
    }

    fn power(&self, record: &mut Record) -> Result<(), Wrong> {
        let cells = ["ipmi", "ipmi_user", "ipmi_password_file"].map(|column| self.cells.get(column));
        let [Some(address), user, file] = cells else { return Ok(()) };
        if address.is_empty() {
            record.power = Power::Person;
            return Ok(());
        }
        let (known_user, known_file) = match &record.power {
            Power::Person => (String::new(), String::new()),
            Power::Ipmi { user, password_file, .. } => (user.clone(), password_file.clone()),
        };
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "623"));
        let port = port
            .parse()
            .map_err(|_| (format!("`{address}` is no BMC address"), "write host or host:port".to_owned()))?;
        let (user, password_file) =
            (user.cloned().unwrap_or(known_user), file.cloned().unwrap_or(known_file));
        if user.is_empty() || password_file.is_empty() || host.is_empty() {
            let remedy = "fill ipmi, ipmi_user and ipmi_password_file, or empty all three";
            return Err(("a BMC needs address, user and password file".to_owned(), remedy.to_owned()));
        }
        record.power = Power::Ipmi { host: host.to_owned(), port, user, password_file };
        Ok(())
    }
}

/// What is wrong with a cell, and what now.
type Wrong = (String, String);

fn set(record: &mut Record, column: &str, cell: &str) -> Result<(), Wrong> {
    let wrong = |error: String| (error, "correct the cell".to_owned());
    match column {
        "macs" => record.macs = macs(cell)?,
        "blueprint" => record.blueprint = cell.to_owned(),
        "group" => record.group = if cell.is_empty() { "default".to_owned() } else { cell.to_owned() },
        "kind" => record.kind = optional(cell).map(str::parse).transpose().map_err(wrong)?,
        "site" | "line" | "cell" => {
            let change = [(column.to_owned(), optional(cell).map(str::to_owned))].into();
            record.labels = record.labels.with(&change).map_err(|error| wrong(error.to_string()))?;
        }
        "labels" => record.labels = labels(&record.labels, cell).map_err(wrong)?,
        "safety_class" => {
            let class = if cell.is_empty() { Some(0) } else { cell.parse().ok().filter(|class| *class <= 3) };
            record.safety_class = class
                .ok_or_else(|| (format!("`{cell}` is no safety class"), "write 0, 1, 2 or 3".to_owned()))?;
        }
        "redundancy" => record.redundancy = optional(cell).map(str::to_owned),
        "chain" => record.chain = chain(cell)?,
        "disk_serial" => record.disk_serial = optional(cell).map(str::to_owned),
        "drill_safe" => record.drill_safe = yes(cell)?,
        "hostname" => record.settings.hostname = optional(cell).map(str::to_owned),
        "network" => record.settings.interfaces = network(cell)?,
        _ => {}
    }
    Ok(())
}

fn optional(cell: &str) -> Option<&str> {
    Some(cell).filter(|cell| !cell.is_empty())
}

fn macs(cell: &str) -> Result<Vec<MacAddr>, Wrong> {
    let one = |text: &str| {
        text.parse().map_err(|_| {
            let number = text.contains("E+") || text.bytes().all(|c| c.is_ascii_digit());
            if number {
                let remedy = "format the column as text, then write 52:54:00:12:34:56 again";
                (format!("`{text}`: a spreadsheet made a number of a MAC address"), remedy.to_owned())
            } else {
                let remedy = "write it as 52:54:00:12:34:56, with blanks between several";
                (format!("`{text}` is not a MAC address"), remedy.to_owned())
            }
        })
    };
    let mut macs: Vec<MacAddr> = cell
        .split([' ', ',', ';', '|', '\n', '\r', '\t'])
        .filter(|text| !text.is_empty())
        .map(one)
        .collect::<Result<_, _>>()?;
    macs.sort();
    macs.dedup();
    Ok(macs)
}

/// The labels that have no column of their own are those in the cell; the others stay.
fn labels(known: &Labels, cell: &str) -> Result<Labels, String> {
    let others: Labels =
        cell.parse().map_err(|error: recovery_protocol::selector::LabelError| error.to_string())?;
    let gone =
        known.iter().filter(|(key, _)| !PLACE_KEYS.contains(key)).map(|(key, _)| (key.to_owned(), None));
    let set = others.iter().map(|(key, value)| (key.to_owned(), Some(value.to_owned())));
    known.with(&gone.chain(set).collect()).map_err(|error| error.to_string())
}

const CHAINS: [(&str, Chain); 4] =
    [("auto", Chain::Auto), ("shim", Chain::Shim), ("ipxe", Chain::Ipxe), ("uefi-http", Chain::UefiHttp)];

fn chain(cell: &str) -> Result<Chain, Wrong> {
    let known = CHAINS.into_iter().find(|(word, _)| *word == cell.replace('_', "-")).map(|(_, chain)| chain);
    known.or((cell.is_empty()).then_some(Chain::Auto)).ok_or_else(|| {
        (format!("`{cell}` is no boot chain"), "write auto, shim, ipxe or uefi-http".to_owned())
    })
}

fn yes(cell: &str) -> Result<bool, Wrong> {
    match cell.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Ok(true),
        "" | "no" | "false" | "0" => Ok(false),
        _ => Err((format!("`{cell}` is neither yes nor no"), "write yes or no".to_owned())),
    }
}

/// `MAC ADDRESS/PREFIX … via GATEWAY … dns ADDRESS …`, with `|` between two interfaces.
fn network(cell: &str) -> Result<Vec<InterfaceSettings>, Wrong> {
    let remedy =
        "write it as 52:54:00:12:34:56 10.7.3.21/24 via 10.7.3.1 dns 10.7.3.2, with | between two interfaces";
    let wrong = |text: &str| (format!("`{text}` does not belong here"), remedy.to_owned());
    let mut interfaces = Vec::new();
    for part in cell.split('|').filter(|part| !part.trim().is_empty()) {
        let mut words = part.split_whitespace();
        let mac = words.next().unwrap_or_default();
        let mac = mac.parse().map_err(|_| wrong(mac))?;
        let (mut addresses, mut gateways, mut dns) = (Vec::new(), Vec::new(), Vec::new());
        let mut what = "address";
        for word in words {
            match what {
                _ if word == "via" || word == "dns" => what = word,
                "via" => gateways.push(word.parse::<IpAddr>().map_err(|_| wrong(word))?),
                "dns" => dns.push(word.parse::<IpAddr>().map_err(|_| wrong(word))?),
                _ => addresses.push(word.parse::<InterfaceAddress>().map_err(|_| wrong(word))?),
            }
        }
        interfaces.push(InterfaceSettings { mac, addresses, gateways, dns });
    }
    Ok(interfaces)
}

fn network_cell(settings: &EndpointSettings) -> String {
    let interface = |own: &InterfaceSettings| {
        let mut words = vec![own.mac.to_string()];
        words.extend(own.addresses.iter().map(ToString::to_string));
        for (word, list) in [("via", &own.gateways), ("dns", &own.dns)] {
            words.extend((!list.is_empty()).then(|| word.to_owned()));
            words.extend(list.iter().map(ToString::to_string));
        }
        words.join(" ")
    };
    settings.interfaces.iter().map(interface).collect::<Vec<_>>().join(" | ")
}

/// The characters that make a spreadsheet run a cell, and the one that keeps it from that.
const RUN: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\''];

fn escaped(cell: String) -> String {
    if cell.starts_with(RUN) { format!("'{cell}") } else { cell }
}

fn unescaped(cell: &str) -> String {
    let cell = cell.trim();
    cell.strip_prefix('\'').filter(|rest| rest.starts_with(RUN)).unwrap_or(cell).to_owned()
}

/// Records as a sheet that [`read`] takes back as the same.
#[must_use]
pub fn write<'a>(endpoints: impl Iterator<Item = (&'a EndpointId, &'a Record)>) -> String {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    // Into memory nothing can fail.
    let _ = writer.write_record(COLUMNS);
    for (id, record) in endpoints {
        let _ = writer.write_record(COLUMNS.map(|column| escaped(cell(id, record, column))));
    }
    writer.into_inner().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

fn cell(id: &EndpointId, record: &Record, column: &str) -> String {
    let (host, user, file) = match &record.power {
        Power::Person => Default::default(),
        Power::Ipmi { host, port, user, password_file } => {
            (format!("{host}:{port}"), user.clone(), password_file.clone())
        }
    };
    match column {
        "name" => id.to_string(),
        "macs" => record.macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        "blueprint" => record.blueprint.clone(),
        "group" => record.group.clone(),
        "kind" => record.kind.map(Kind::as_str).unwrap_or_default().to_owned(),
        "labels" => {
            let own = record.labels.iter().filter(|(key, _)| !PLACE_KEYS.contains(key));
            own.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
        }
        "safety_class" => record.safety_class.to_string(),
        "redundancy" => record.redundancy.clone().unwrap_or_default(),
        "chain" => {
            CHAINS.iter().find(|(_, chain)| *chain == record.chain).map_or("", |(word, _)| word).to_owned()
        }
        "disk_serial" => record.disk_serial.clone().unwrap_or_default(),
        "drill_safe" => if record.drill_safe { "yes" } else { "no" }.to_owned(),
        "hostname" => record.settings.hostname.clone().unwrap_or_default(),
        "network" => network_cell(&record.settings),
        "ipmi" => host,
        "ipmi_user" => user,
        "ipmi_password_file" => file,
        place => record.labels.get(place).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

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
        let head = "name,macs,blueprint,kind,safety_class,chain,drill_safe,network,ipmi,ipmi_user,ipmi_password_file,labels";
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
            ("a,,,,,,,,10.0.0.9:x,u,f,", "ipmi", "no BMC address"),
            ("a,,,,,,,,10.0.0.9,u,,", "ipmi", "user and password file"),
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
            ("[a-z0-9.]{1,9}", any::<u16>(), text(), text()).prop_map(|(host, port, user, password_file)| {
                Power::Ipmi { host, port, user, password_file }
            })
        ];
        let word = "[a-z0-9]([a-z0-9._-]{0,6}[a-z0-9])?";
        let labels =
            prop::collection::btree_map(prop_oneof!["line", "site", "cell", "x[a-z]{1,5}"], word, 0..5)
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
}

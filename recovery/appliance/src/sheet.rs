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
    operator::{Chain, ImportFault, Kind},
    selector::{Labels, PLACE_KEYS},
    settings::{EndpointSettings, InterfaceAddress, InterfaceSettings},
};

use crate::db::endpoint::Record;

mod bmc;

/// Lines of a sheet, at most.
const LINES_MOST: usize = 20_000;
/// The columns, in the order in which they are written.
const COLUMNS: [&str; 20] = [
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
    "bmc",
    "bmc_user",
    "bmc_password_file",
    "bmc_certificate",
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
        match bmc::power(|column| self.cells.get(column).map(String::as_str), &record.power) {
            Ok(power) => record.power = power,
            Err((what, remedy)) => faults.push(fault(self.line, "bmc", what, remedy)),
        }
        if faults.is_empty() { Ok(record) } else { Err(faults) }
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
        "bmc" | "bmc_user" | "bmc_password_file" | "bmc_certificate" => bmc::cell(&record.power, column),
        place => record.labels.get(place).unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests;

//! In which form a command says what it found: a table for people, data for programs. Data goes to stdout, talk to stderr.
//!
//! | form | what it is |
//! |---|---|
//! | `table` | for people; may change with any version |
//! | `json` | the API's own schema, one document on one line; one line a change where something is followed |
//! | `yaml` | the same |
//! | `csv` | RFC 4180 with a head; a list is a row each, what is nested has `outer.inner` as its head, what is a list itself is JSON |
//! | `name` | what the next command takes, one a line |
//!
//! It must never: let a cell be taken for a formula by whoever opens the CSV.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use super::fault::{Code, Fault};

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Table,
    /// The API's schema
    Json,
    /// The same as YAML
    Yaml,
    /// For a spreadsheet
    Csv,
    /// What the next command takes, one a line
    Name,
}

/// What a thing is called by, the first that it has: as commands take it.
const NAMES: &[&str] = &[
    "job", "drill", "plan", "endpoint", "session", "person", "kiosk", "runbook", "step", "id", "name",
    "zone", "image", "check", "code", "mac", "binding", "site",
];

impl Output {
    /// Whether a program reads it.
    #[must_use]
    pub fn is_data(self) -> bool {
        self != Self::Table
    }

    /// The text of a value, with its last line's end; `table` makes what people read.
    ///
    /// # Errors
    /// Usage, when what is to be named has no name.
    pub fn render<T: Serialize>(self, value: &T, table: impl Fn(&T) -> String) -> Result<String, Fault> {
        let failed = |error: &dyn std::error::Error| Fault::of("it cannot be printed", error, "");
        let tree = || serde_json::to_value(value).map_err(|error| failed(&error));
        match self {
            Self::Table => Ok(table(value) + "\n"),
            Self::Json => Ok(serde_json::to_string(value).map_err(|error| failed(&error))? + "\n"),
            Self::Yaml => {
                let text = serde_saphyr::to_string(&tree()?).map_err(|error| failed(&error))?;
                Ok(text.trim_end().to_owned() + "\n")
            }
            Self::Csv => sheet(&tree()?).map_err(|error| failed(&error)),
            Self::Name => names(&tree()?),
        }
    }
}

/// Print a value.
///
/// # Errors
/// As [`Output::render`].
pub fn print<T: Serialize>(output: Output, value: &T, table: impl Fn(&T) -> String) -> Result<(), Fault> {
    print!("{}", output.render(value, table)?);
    Ok(())
}

/// Print a value for a program. What people read is printed elsewhere; a form for them gives JSON.
///
/// # Errors
/// As [`Output::render`].
pub fn say<T: Serialize>(output: Output, value: &T) -> Result<(), Fault> {
    let output = if output.is_data() { output } else { Output::Json };
    print(output, value, |_| String::new())
}

/// The things of a value: its items, or itself.
fn things(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    }
}

/// What one is called by: `name:version` where it has both.
fn name(thing: &Value) -> Option<String> {
    let scalar = |key: &str| match thing.get(key)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if let Value::String(text) = thing {
        return Some(text.clone());
    }
    if let (Some(name), Some(version)) = (scalar("name"), scalar("version")) {
        return Some(format!("{name}:{version}"));
    }
    let inner = || thing.get("schedule").and_then(name);
    NAMES.iter().find_map(|key| scalar(key)).or_else(inner).filter(|name| !name.is_empty())
}

fn names(value: &Value) -> Result<String, Fault> {
    let nameless = || {
        Fault::new(Code::Usage, "what this prints has no name", "", "choose another form, as in `-o json`")
    };
    let named = things(value).into_iter().map(|thing| name(thing).map(|name| name + "\n"));
    named.collect::<Option<String>>().ok_or_else(nameless)
}

/// Columns in the order in which they come first; what things are called by stands first.
fn sheet(value: &Value) -> Result<String, csv::Error> {
    let rows: Vec<Vec<(String, String)>> = things(value)
        .into_iter()
        .map(|thing| {
            let mut cells = Vec::new();
            flat("", thing, &mut cells);
            cells
        })
        .collect();
    let mut head: Vec<&str> = Vec::new();
    for (key, _) in rows.iter().flatten() {
        if !head.contains(&key.as_str()) {
            head.push(key);
        }
    }
    head.sort_by_key(|key| NAMES.iter().position(|name| name == key).unwrap_or(NAMES.len()));
    if head.is_empty() {
        return Ok(String::new());
    }
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(head.iter().map(|key| harmless(key)))?;
    for row in &rows {
        let cell = |key: &&str| row.iter().find(|(has, _)| has == key).map_or("", |(_, cell)| cell);
        out.write_record(head.iter().map(|key| harmless(cell(key))))?;
    }
    let bytes =
        out.into_inner().map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn flat(key: &str, value: &Value, cells: &mut Vec<(String, String)>) {
    let text = match value {
        Value::Object(fields) => {
            for (inner, value) in fields {
                let key = if key.is_empty() { inner.clone() } else { format!("{key}.{inner}") };
                flat(&key, value, cells);
            }
            return;
        }
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let key = if key.is_empty() { "value" } else { key };
    cells.push((key.to_owned(), text));
}

/// A cell that a spreadsheet would run gets a `'` in front, as its own editor writes it (OWASP, "CSV injection"). Numbers stay numbers.
fn harmless(cell: &str) -> String {
    const BEGIN: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠'];
    let runs = cell.starts_with(BEGIN) && cell.parse::<f64>().is_err();
    if runs { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(output: Output, value: &Value) -> String {
        output.render(value, |_| "for people".to_owned()).unwrap()
    }

    #[test]
    fn each_form_says_the_same_and_each_reads_back() {
        let value = json!([
            { "endpoint": "press-01", "state": "unknown", "labels": { "line": "3" }, "macs": ["a", "b"], "job": null },
            { "endpoint": "press-02", "state": "no", "labels": {}, "macs": [], "note": "two\nlines, \"quoted\"", "temperature": -4 },
        ]);
        assert_eq!(all(Output::Table, &value), "for people\n");
        assert_eq!(serde_json::from_str::<Value>(&all(Output::Json, &value)).unwrap(), value);
        assert_eq!(serde_saphyr::from_str::<Value>(&all(Output::Yaml, &value)).unwrap(), value);
        assert_eq!(all(Output::Name, &value), "press-01\npress-02\n");
        let sheet = all(Output::Csv, &value);
        let mut read = csv::Reader::from_reader(sheet.as_bytes());
        let head = read.headers().unwrap().clone();
        assert_eq!(&head[0], "job", "{sheet}");
        let rows: Vec<csv::StringRecord> = read.records().map(Result::unwrap).collect();
        let cell =
            |row: usize, key: &str| rows[row][head.iter().position(|has| has == key).unwrap()].to_owned();
        assert_eq!((cell(0, "labels.line"), cell(0, "macs")), ("3".to_owned(), "[\"a\",\"b\"]".to_owned()));
        assert_eq!(
            (cell(1, "note"), cell(1, "temperature")),
            ("two\nlines, \"quoted\"".to_owned(), "-4".to_owned())
        );
        assert_eq!(cell(1, "labels.line"), "");
    }

    #[test]
    fn no_cell_and_no_head_is_a_formula() {
        for evil in ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1", "=\"a\",b"] {
            let sheet = all(Output::Csv, &json!([{ "endpoint": evil, "labels": { "x": evil }, evil: "1" }]));
            let mut read = csv::ReaderBuilder::new().has_headers(false).from_reader(sheet.as_bytes());
            for cell in
                read.records().flat_map(|row| row.unwrap().iter().map(str::to_owned).collect::<Vec<_>>())
            {
                assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝']), "{cell:?} of {sheet:?}");
            }
        }
        assert_eq!(harmless("-40"), "-40");
        assert_eq!(harmless("-4,5"), "'-4,5");
    }

    #[test]
    fn what_has_no_name_says_so_and_an_image_is_named_as_commands_take_it() {
        assert_eq!(
            all(Output::Name, &json!([{ "id": "00ff", "name": "hmi-panel", "version": "2" }])),
            "hmi-panel:2\n"
        );
        assert_eq!(all(Output::Name, &json!(["a", "b"])), "a\nb\n");
        assert_eq!(all(Output::Name, &json!([])), "");
        let fault = Output::Name.render(&json!({ "good": true }), |_| String::new()).unwrap_err();
        assert_eq!(fault.code, Code::Usage);
        assert_eq!(all(Output::Csv, &json!([])), "");
        assert_eq!(all(Output::Csv, &json!("x")), "value\nx\n");
    }
}

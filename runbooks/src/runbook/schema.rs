//! The JSON Schema that editors complete runbooks by: made from the types that read a file, never by hand.
//!
//! It stands in `schema/runbook-v1.json`. `GROUNDSTATE_WRITE_SCHEMA=1 cargo test -p runbooks schema` writes it anew. A validator of others
//! judges every shipped file by it.
#![expect(dead_code, reason = "the structs of arguments are there for their schema alone")]

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};

use super::{
    Attest, CheckItem, OnUnreachable, Profile, ReportKind, Verb,
    parse::{Length, RawMaxFailures, RawPass, RawRunbook},
    text::Text,
    with::{Distinct, IfEssential},
};

macro_rules! says {
    ($($type:ty, $name:literal, $schema:tt;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> { $name.into() }
            fn json_schema(_: &mut SchemaGenerator) -> Schema { json_schema!($schema) }
        }
    )*};
}

says! {
    Length, "Length", { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "A length of time, such as 90s, 12m, 2h or 7d" };
    RawPass, "Pass", { "type": "string", "pattern": "^(all|[0-9]{1,3}%)$", "description": "`all`, or a share such as 90%" };
    RawMaxFailures, "MaxFailures", { "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^[0-9]{1,3}%$" }] };
    Text, "Text", { "anyOf": [
        { "type": "string" },
        { "type": "object", "properties": { "en": { "type": "string" } }, "required": ["en"], "additionalProperties": { "type": "string" } }
    ] };
}

macro_rules! arguments {
    ($($verb:ident: $name:ident { $($field:ident $(as $word:literal)?: $type:ty,)* })*) => {
        $(
            #[derive(JsonSchema)]
            #[schemars(deny_unknown_fields)]
            struct $name { $($(#[schemars(rename = $word)])? $field: $type,)* }
        )*
        fn arguments(verb: Verb, generator: &mut SchemaGenerator) -> Value {
            match verb {
                $(Verb::$verb => generator.subschema_for::<$name>().to_value(),)*
                Verb::Call => json!({}),
            }
        }
    };
}

arguments! {
    Check: CheckWith { set: Vec<CheckItem>, }
    Approve: ApproveWith { min: Option<u8>, roles: Option<Vec<String>>, distinct: Option<Vec<Distinct>>, }
    Notify: NotifyWith { to: String, text: Text, }
    Manual: ManualWith { text: Text, checklist: Option<Vec<Text>>, }
    Isolate: IsolateWith { to: String, if_essential: Option<IfEssential>, }
    Capture: CaptureWith { profile: Option<Profile>, budget: Option<Length>, }
    Reimage: ReimageWith {}
    Verify: VerifyWith { attest: Option<Attest>, }
    Enrol: EnrolWith { revoke_previous: Option<bool>, on_unreachable: Option<OnUnreachable>, }
    Accept: AcceptWith { by: String, question: Text, }
    Release: ReleaseWith { to: String, }
    Wait: WaitWith { span as "for": Length, }
    Decide: DecideWith { text: Text, options: Vec<String>, }
    Report: ReportWith { kind: Option<ReportKind>, }
}

/// The schema of a runbook. What a verb takes under `with` depends on `uses`.
fn schema() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let by_verb: Vec<Value> = Verb::ALL
        .into_iter()
        .map(|verb| {
            let with = arguments(verb, &mut generator);
            json!({
                "if": { "properties": { "uses": { "const": verb.word() } }, "required": ["uses"] },
                "then": { "properties": { "with": with } }
            })
        })
        .collect();
    let mut schema = generator.into_root_schema_for::<RawRunbook>().to_value();
    schema["title"] = json!("Groundstate runbook, version 1");
    schema["properties"]["schema"] = json!({ "const": super::parse::SCHEMA });
    schema["$defs"]["RawStep"]["allOf"] = json!(by_verb);
    named_for_people(schema)
}

/// The names of our types are nobody else's business.
fn named_for_people(schema: Value) -> Value {
    let text = serde_json::to_string(&schema).unwrap().replace("/Raw", "/").replace("\"Raw", "\"");
    serde_json::from_str(&text).unwrap()
}

fn committed() -> Value {
    serde_json::from_str(super::SCHEMA_JSON).unwrap()
}

#[test]
fn the_published_schema_is_what_the_types_say() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/runbook-v1.json");
    let fresh = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("GROUNDSTATE_WRITE_SCHEMA").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(committed == fresh, "write it anew: GROUNDSTATE_WRITE_SCHEMA=1 cargo test -p runbooks schema");
}

fn as_json(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

#[test]
fn a_validator_of_others_takes_every_shipped_runbook() {
    let validator = jsonschema::draft202012::new(&committed()).unwrap();
    for shipped in crate::library() {
        let faults: Vec<String> = validator
            .iter_errors(&as_json(shipped.text))
            .map(|fault| format!("{} at {}", fault, fault.instance_path()))
            .collect();
        assert_eq!(faults, Vec::<String>::new(), "{}", shipped.name);
    }
}

#[test]
fn the_validator_refuses_what_the_reader_refuses() {
    let validator = jsonschema::draft202012::new(&committed()).unwrap();
    let good = crate::library::shipped("quarterly-hmi-drill").unwrap().text;
    for (from, to) in [
        ("metadata:", "metadat:"),
        ("uses: reimage", "uses: wipe"),
        ("timeout: 60s", "timeout: 60"),
        ("timeout: 60s", "timout: 60s"),
        ("with: {attest: required}", "with: {attest: maybe}"),
        ("with: {attest: required}", "with: {quote: required}"),
        ("schema: runbook/v1", "schema: runbook/v2"),
        ("max_failures: 0", "max_failures: \"a few\""),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replacen(from, to, 1);
        assert!(super::parse::parse(&bad).is_err(), "{to}");
        assert!(!validator.is_valid(&as_json(&bad)), "{to}");
    }
}

/// What the reader says that a verb takes, out of its own refusal of an argument that nobody knows.
fn known(verb: Verb) -> Vec<String> {
    let needed = match verb {
        Verb::Check => "set: [store-free]",
        Verb::Notify => "to: lead, text: t",
        Verb::Manual => "text: t",
        Verb::Isolate | Verb::Release => "to: vlan",
        Verb::Accept => "by: operator, question: q",
        Verb::Wait => "for: 1m",
        Verb::Decide => "text: t, options: [a, b]",
        _ => "",
    };
    let comma = if needed.is_empty() { "" } else { ", " };
    let text = format!(
        "schema: runbook/v1\nmetadata: {{name: a, version: 1, title: {{en: A}}, owner: o}}\nmodes: {{}}\nsteps:\n  - {{id: a, uses: {verb}, with: {{{needed}{comma}moon: 1}}}}\n"
    );
    let said = super::parse::parse(&text).unwrap_err().to_string();
    let Some((_, list)) = said.split_once("use ") else { return Vec::new() };
    let list = list.split_once(", or remove").map_or(list, |(list, _)| list);
    let mut known: Vec<String> = list.split(", ").map(str::to_owned).collect();
    known.sort();
    known
}

#[test]
fn the_schema_knows_the_arguments_that_the_reader_knows() {
    let schema = committed();
    for (verb, rule) in Verb::ALL.into_iter().zip(schema["$defs"]["Step"]["allOf"].as_array().unwrap()) {
        if verb == Verb::Call {
            continue;
        }
        let with = &rule["then"]["properties"]["with"];
        let name = with["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let mut keys: Vec<String> = schema["$defs"][name]["properties"]
            .as_object()
            .map(|keys| keys.keys().cloned().collect())
            .unwrap_or_default();
        keys.sort();
        assert_eq!(keys, known(verb), "{verb}");
    }
}

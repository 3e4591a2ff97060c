//! Texts of the console: each message of `console/texts/en` becomes a function of `Texts`, so a message that nobody wrote does not compile, and
//! one that nobody uses is dead code. A language that lacks a message, has one too many, or names another value, fails the build here.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use fluent_syntax::ast::{CallArguments, Entry, Expression, InlineExpression, Pattern, PatternElement};

/// The first is the one that others are held against.
const LANGUAGES: [&str; 5] = ["en", "de", "fr", "es", "zh"];

/// A message: the names of its values, and what it says, for the docstring.
struct Message {
    values: BTreeSet<String>,
    says: String,
}

fn main() {
    docs();
    println!("cargo::rerun-if-changed=console/texts");
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says where")).join("console/texts");
    let mut wrong = Vec::new();
    let mut sources = String::new();
    let mut measure = BTreeMap::new();
    for language in LANGUAGES {
        let source = source_of(&root.join(language));
        let messages = messages_of(&source, language, &mut wrong);
        if language == LANGUAGES[0] {
            measure = messages;
        } else {
            compare(&measure, &messages, language, &mut wrong);
        }
        sources += &format!("    ({language:?}, {source:?}),\n");
    }
    assert!(wrong.is_empty(), "the texts of the console do not fit together:\n  {}\n", wrong.join("\n  "));
    let functions: String = measure
        .iter()
        .filter(|(id, _)| !is_looked_up(id))
        .map(|(id, message)| function(id, message))
        .collect();
    let code = format!(
        "/// Every language's name (BCP 47) and messages.\nconst SOURCES: [(&str, &str); {}] = [\n{sources}];\n\nimpl Texts {{\n{functions}}}\n",
        LANGUAGES.len()
    );
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where")).join("texts.rs");
    fs::write(out, code).expect("the build's own directory can be written");
}

/// What the docstrings of the configuration's types say, as `DOCS: (type, field, text)` in `docs.rs`.
fn docs() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says where")).join("src");
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("config"))
        .expect("the configuration's types")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect();
    files.sort();
    for elsewhere in DOCUMENTED {
        files.push(root.join(elsewhere));
    }
    let mut table = String::from(
        "/// What each key means, by its type and name.\nconst DOCS: &[(&str, &str, &str)] = &[\n",
    );
    for file in &files {
        println!("cargo::rerun-if-changed={}", file.display());
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let (mut of, mut doc) = (String::new(), Vec::new());
        for line in text.lines() {
            let line = line.trim();
            if let Some(said) = line.strip_prefix("///") {
                doc.push(said.trim());
            } else if let Some(rest) = line.strip_prefix("pub struct ").filter(|rest| rest.ends_with('{')) {
                of = rest.trim_end_matches('{').trim().to_owned();
                doc.clear();
            } else if line == "}" {
                of.clear();
            } else if let Some((field, _)) =
                line.split_once(':').filter(|_| !of.is_empty() && !line.starts_with('#'))
            {
                let field = field.trim_start_matches("pub ").trim_start_matches("pub(crate) ");
                table += &format!("    ({of:?}, {field:?}, {:?}),\n", doc.join(" "));
                doc.clear();
            } else if !line.starts_with('#') {
                doc.clear();
            }
        }
    }
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where")).join("docs.rs");
    fs::write(out, table + "];\n").expect("the build's own directory can be written");
}

/// Where else types of the configuration stand.
const DOCUMENTED: [&str; 12] = [
    "config.rs",
    "agents/files.rs",
    "agents/shape.rs",
    "../../protocol/src/agent/disk.rs",
    "db/server.rs",
    "depot/setting.rs",
    "depot/mod.rs",
    "forward/syslog.rs",
    "forward/webhook.rs",
    "notify/email.rs",
    "notify/mqtt.rs",
    "seal.rs",
];

/// Messages that are looked up by a code (`code-…`) have no function.
fn is_looked_up(id: &str) -> bool {
    id.starts_with("code-")
}

/// The files of one language, in order, as one.
fn source_of(directory: &Path) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "ftl"))
        .collect();
    files.sort();
    files.iter().map(|file| fs::read_to_string(file).expect("a text file") + "\n").collect()
}

fn messages_of(source: &str, language: &str, wrong: &mut Vec<String>) -> BTreeMap<String, Message> {
    let resource = fluent_syntax::parser::parse(source).unwrap_or_else(|(resource, errors)| {
        wrong.extend(errors.iter().map(|error| {
            let line = source[..error.pos.start].lines().count().max(1);
            format!("{language}: {error} (near «{}»)", source.lines().nth(line - 1).unwrap_or_default())
        }));
        resource
    });
    let mut messages = BTreeMap::new();
    for entry in &resource.body {
        let Entry::Message(message) = entry else { continue };
        let id = message.id.name.to_owned();
        let Some(pattern) = &message.value else {
            wrong.push(format!("{language}: {id} says nothing"));
            continue;
        };
        let mut values = BTreeSet::new();
        let mut says = String::new();
        read(pattern, &mut values, &mut says);
        if messages.insert(id.clone(), Message { values, says }).is_some() {
            wrong.push(format!("{language}: {id} stands twice"));
        }
    }
    messages
}

fn read(pattern: &Pattern<&str>, values: &mut BTreeSet<String>, says: &mut String) {
    for element in &pattern.elements {
        match element {
            PatternElement::TextElement { value } => says.push_str(value),
            PatternElement::Placeable { expression } => read_expression(expression, values, says),
        }
    }
}

fn read_expression(expression: &Expression<&str>, values: &mut BTreeSet<String>, says: &mut String) {
    match expression {
        Expression::Inline(inline) => read_inline(inline, values, says),
        Expression::Select { selector, variants } => {
            read_inline(selector, values, &mut String::new());
            for (at, variant) in variants.iter().enumerate() {
                let mut unsaid = String::new();
                let last = at + 1 == variants.len();
                read(&variant.value, values, if last { &mut *says } else { &mut unsaid });
            }
        }
    }
}

fn read_inline(inline: &InlineExpression<&str>, values: &mut BTreeSet<String>, says: &mut String) {
    match inline {
        InlineExpression::StringLiteral { value } | InlineExpression::NumberLiteral { value } => {
            says.push_str(value)
        }
        InlineExpression::VariableReference { id } => {
            values.insert(id.name.to_owned());
            says.push_str(&format!("<{}>", id.name));
        }
        InlineExpression::FunctionReference { arguments: CallArguments { positional, .. }, .. } => {
            for argument in positional {
                read_inline(argument, values, says);
            }
        }
        InlineExpression::Placeable { expression } => read_expression(expression, values, says),
        InlineExpression::MessageReference { .. } | InlineExpression::TermReference { .. } => {}
    }
}

fn compare(
    measure: &BTreeMap<String, Message>,
    messages: &BTreeMap<String, Message>,
    language: &str,
    wrong: &mut Vec<String>,
) {
    for (id, message) in measure {
        match messages.get(id) {
            None => wrong.push(format!("{language}: {id} is missing («{}»)", message.says.trim())),
            Some(other) if other.values != message.values => {
                wrong.push(format!(
                    "{language}: {id} has the values {:?}, not {:?}",
                    other.values, message.values
                ));
            }
            Some(_) => {}
        }
    }
    wrong.extend(
        messages
            .keys()
            .filter(|id| !measure.contains_key(*id))
            .map(|id| format!("{language}: {id} is not in en")),
    );
}

fn function(id: &str, message: &Message) -> String {
    let name = id.replace('-', "_");
    let says = message.says.trim().replace('\n', " ");
    let taken: String = message
        .values
        .iter()
        .map(|value| format!(", {}: impl Into<FluentValue<'a>>", value.replace('-', "_")))
        .collect();
    let given: String = message
        .values
        .iter()
        .map(|value| format!("({value:?}, {}.into()), ", value.replace('-', "_")))
        .collect();
    let life = if message.values.is_empty() { "" } else { "<'a>" };
    format!(
        "    /// «{says}»\n    #[must_use]\n    pub fn {name}{life}(self{taken}) -> String {{\n        self.say({id:?}, [{given}])\n    }}\n\n"
    )
}

//! `groundstate help …`: topics that belong to no command, commands' own help, and what is printed when nothing is typed.
//!
//! It must never: open a file or a socket.

use std::fmt::Write as _;

use clap::{CommandFactory as _, ValueEnum as _};

use super::{Cli, Code, Fault, Output};

/// The topics: name, one line.
pub const TOPICS: &[(&str, &str)] = &[
    ("exit-codes", "what a command's exit code tells a script"),
    ("output", "tables, JSON, YAML, CSV, names; what goes where"),
    ("selectors", "how to say which endpoints are meant"),
    ("plans", "looking before something is destroyed: --plan, --approve-plan"),
    ("environment", "variables and files that are read"),
];

/// Printed when nothing is typed.
pub const START: &str = "groundstate recovers endpoints to a known-good state, and proves it.

  groundstate status               how the site is
  groundstate recover ENDPOINT     bring an endpoint back to its golden image
  groundstate job list             what is under way, and what waits for a person
  groundstate stop press           hold everything
  groundstate doctor               is this appliance fit to recover something

New here: `groundstate setup`, then `groundstate setup-code`. All commands: `groundstate --help`.
A code that you do not know: `groundstate explain CODE`. Topics: `groundstate help exit-codes`, and more in `groundstate help`.
";

/// The text of `groundstate help` with these words behind it.
///
/// # Errors
/// Not found, with what comes near.
pub fn help(words: &[String]) -> Result<String, Fault> {
    match words {
        [] => {
            let mut text = Cli::command().render_long_help().to_string();
            text += "\nTopics (`groundstate help TOPIC`):\n";
            for (name, what) in TOPICS {
                let _ = writeln!(text, "  {name:<16} {what}");
            }
            Ok(text)
        }
        [one] if TOPICS.iter().any(|(name, _)| name == one) => Ok(topic(one)),
        path => of_command(path),
    }
}

fn of_command(path: &[String]) -> Result<String, Fault> {
    let mut root = Cli::command();
    root.build();
    let mut command = &mut root;
    for word in path {
        let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
        let Some(inner) = command.find_subcommand_mut(word) else {
            let known = names.iter().map(String::as_str).chain(TOPICS.iter().map(|(name, _)| *name));
            let near = near(word, known);
            let now = match near.as_slice() {
                [] => "look at `groundstate help`".to_owned(),
                near => format!("did you mean `{}`?", near.join("`, `")),
            };
            return Err(Fault::new(Code::NotFound, format!("there is no help on `{word}`"), "", now));
        };
        command = inner;
    }
    Ok(command.render_long_help().to_string())
}

fn topic(name: &str) -> String {
    match name {
        "exit-codes" => exit_codes(),
        "output" => output(),
        "selectors" => SELECTORS.to_owned(),
        "plans" => PLANS.to_owned(),
        _ => ENVIRONMENT.to_owned(),
    }
}

fn exit_codes() -> String {
    let mut text =
        String::from("Every command ends with one of these. They do not change.\n\n   0  it is done\n");
    for code in Code::ALL {
        let _ = writeln!(text, "{:>4}  {}", code as u8, code.meaning());
    }
    text + "
A refusal of the appliance has the exit code of its HTTP status (400, 422: 2; 401, 403: 4; 404: 3; 409, 412: 5; 429, 503: 9),
unless its own code says more: a signature that does not fit is 10, a second person who is missing 8.

`groundstate doctor` has three of its own: 0 all is well, 1 warnings or what could not be looked at, 2 failures.
On stderr stands what happened, `why:`, and `hint:` with what to do.
"
}

fn output() -> String {
    let mut text = String::from("-o FORM, --output FORM: what is printed on stdout.\n\n");
    for form in Output::value_variants() {
        let value = form.to_possible_value();
        let (name, what) = value.as_ref().map_or(("", String::new()), |value| {
            (value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default())
        });
        let _ = writeln!(text, "  {name:<6} {what}");
    }
    text + "
Data goes to stdout, talk to stderr, so `groundstate endpoint list -o csv >plant.csv` holds nothing else.
JSON and YAML have the API's schema (`/api/v1/openapi.json`). `--json` is `-o json`; what is followed (`recover`, `--wait`) prints one
JSON object a change then. CSV has a row a thing; what is nested is called `outer.inner`, and no cell is taken for a formula.
Tables are for people and may change. `name` prints what the next command takes:

  groundstate endpoint list --selector line=3 -o name | xargs -n1 groundstate net doctor
"
}

const SELECTORS: &str = "A selector says which endpoints are meant, by labels and a few facts of the record. All parts must be true.

  line=3                     the label `line` is 3
  line!=3                    it is something else, or is not there
  kind in (hmi, panel)       one of several
  kind notin (historian)     none of several
  line                       it has the label
  !line                      it has not

Parts are joined by commas: --selector 'line=3,kind!=historian'. The console, the API (`?selector=`), scopes of people, standing plans
and notifications know the same grammar. Labels are put on record by `groundstate endpoint set NAME --label line=3`.
";

const PLANS: &str = "What destroys is looked at first: --plan says what would happen, changes nothing, and prints a hash of it. --approve-plan HASH does
exactly that; when anything in it is another by then, it ends with exit code 5 and does nothing.

  groundstate recover --selector line=3 --plan
  groundstate recover --selector line=3 --approve-plan 5d41402abc4b2a76 --reason drift

`recover` (one endpoint or many), `drill run`, `runbook run` and `endpoint import` take both. `image delete`, `gc`, `sign`, `promote`, `export`, `import-bundle`,
`restore`, `replicate` and `depot` have --plan to look; the guard rails of the endpoints' groups count besides.
";

const ENVIRONMENT: &str = "A flag counts more than a variable, a variable more than what is usual.

  GROUNDSTATE_URL            address of the appliance (https://127.0.0.1:443)
  GROUNDSTATE_PIN            pin of its key; else from the data directory
  GROUNDSTATE_TOKEN_FILE     file with your token; else the data directory's `operator.token`
  GROUNDSTATE_DATA_DIR       the data directory, on the appliance (/var/lib/groundstate)
  GROUNDSTATE_CONFIG         configuration file (/etc/groundstate/groundstate.toml is the package's)
  GROUNDSTATE_TRUST_ROOT     image trust root; else `trust-root.json` in the data directory
  LC_ALL, LC_MESSAGES, LANG  the language of `groundstate explain`
";

/// The names that come near a word: at most a third of its letters differ, or one holds the other.
pub fn near<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = known
        .filter_map(|name| {
            let apart = distance(&word, name);
            let holds = word.len() >= 4 && (name.contains(&word) || word.contains(name));
            (apart <= most || holds).then_some((apart, name))
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found.into_iter().take(5).map(|(_, name)| name).collect()
}

/// Letters that must be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let replaced = corner + usize::from(left != *right);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<String, Fault> {
        help(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_topic_has_a_text_and_every_exit_code_stands_in_it() {
        for (name, what) in TOPICS {
            assert!(of(&[name]).unwrap().len() > what.len(), "{name}");
            assert!(of(&[]).unwrap().contains(name), "{name}");
        }
        let codes = of(&["exit-codes"]).unwrap();
        for code in Code::ALL {
            assert!(codes.contains(&format!("{:>4}  {}", code as u8, code.meaning())), "{codes}");
        }
        assert!(of(&["output"]).unwrap().contains("yaml"));
    }

    #[test]
    fn a_command_has_its_help_and_what_is_none_says_what_comes_near() {
        assert!(of(&["endpoint", "add"]).unwrap().contains("--blueprint"));
        let fault = of(&["endpont"]).unwrap_err();
        assert_eq!(fault.code, Code::NotFound);
        assert!(fault.to_string().contains("`endpoint`"), "{fault}");
    }

    #[test]
    fn what_is_typed_when_nothing_is_typed_names_five_commands_that_parse() {
        use clap::Parser as _;
        let lines = START.lines().filter_map(|line| line.strip_prefix("  groundstate "));
        let commands: Vec<&str> = lines.filter_map(|line| line.split("  ").next()).collect();
        assert_eq!(commands.len(), 5);
        for command in commands {
            let line = format!("groundstate {}", command.trim().replace("ENDPOINT", "press-01"));
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
    }

    #[test]
    fn near_is_near() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(near("gard-rail", ["guard-rail", "stalled"].into_iter()), ["guard-rail"]);
        assert_eq!(near("zzz", ["guard-rail"].into_iter()), Vec::<&str>::new());
    }
}

//! Live names for whoever completes what they type: endpoints, jobs, images, drills, people, plans of the appliance; runbooks that ship.
//!
//! A shell asks with `groundstate complete-names -- WORDS…` on each press of the key. It must never: say a word of its own, wait longer than a
//! person does, or fail.

use std::time::Duration;

use clap::{Arg, Command, CommandFactory as _};

use super::{Cli, Output, client::Reach};

/// A person has pressed a key and waits.
const PATIENCE: Duration = Duration::from_millis(500);
/// Nobody reads a longer list.
const MOST: usize = 2000;

/// What can stand in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Runbooks,
    /// A list of the API.
    Of(&'static str),
}

/// Print what can stand where the last word is, one a line.
pub fn print(reach: &Reach, words: &[String]) {
    for name in wanted(words).map(|kind| found(reach, kind)).unwrap_or_default().lines().take(MOST) {
        println!("{name}");
    }
}

fn found(reach: &Reach, kind: Kind) -> String {
    match kind {
        Kind::Runbooks => runbooks::library().iter().map(|runbook| format!("{}\n", runbook.name)).collect(),
        Kind::Of(path) => {
            let asked =
                reach.client().and_then(|client| client.within(PATIENCE).get::<serde_json::Value>(path));
            asked.and_then(|list| Output::Name.render(&list, |_| String::new())).unwrap_or_default()
        }
    }
}

/// What the place is for, by the command line's own tree.
fn wanted(words: &[String]) -> Option<Kind> {
    let (_, before) = words.split_last()?;
    let mut root = Cli::command();
    root.build();
    let (mut command, mut places, mut option) = (&root, 0, None);
    for word in before {
        if option.is_some() {
            // It is the value of the option before it.
            option = None;
        } else if word.starts_with('-') {
            option = with_value(command, word);
        } else if let Some(inner) = command.find_subcommand(word).filter(|_| places == 0) {
            command = inner;
        } else {
            places += 1;
        }
    }
    // What is new has no name yet.
    if ["add", "make", "pair", "import"].contains(&command.get_name()) && option.is_none() {
        return None;
    }
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let place = positionals.get(places).or_else(|| {
        positionals.last().filter(|last| last.get_num_args().is_some_and(|most| most.max_values() > 1))
    });
    let arg = option.or(place.copied())?;
    let is_file = arg.get_value_names().is_some_and(|names| names.iter().any(|name| name.as_str() == "FILE"));
    if is_file { None } else { kind(arg.get_id().as_str()) }
}

/// The option that a word names, where its value is the next word.
fn with_value<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let is_named = |arg: &&Arg| {
        let long = arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
        long || arg
            .get_short()
            .is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str()))
    };
    command.get_arguments().find(is_named).filter(|arg| arg.get_action().takes_values())
}

fn kind(id: &str) -> Option<Kind> {
    Some(match id {
        "endpoint" | "endpoints" => Kind::Of("/api/v1/endpoints"),
        "job" => Kind::Of("/api/v1/jobs"),
        "image" => Kind::Of("/api/v1/images"),
        "drill" => Kind::Of("/api/v1/drills"),
        "person" => Kind::Of("/api/v1/people"),
        "runbook" | "runbooks" => Kind::Runbooks,
        _ => return None,
    })
}

/// A shell's completions with live names in them.
#[must_use]
pub fn alive(shell: clap_complete::Shell, text: String) -> String {
    use clap_complete::Shell;
    match shell {
        Shell::Bash => text + BASH,
        Shell::Fish => text + FISH,
        Shell::Zsh => {
            let text = text.replacen("#compdef groundstate\n", &format!("#compdef groundstate\n{ZSH}"), 1);
            let text = text.replace("    _groundstate \"$@\"\n", "    _groundstate_live \"$@\"\n");
            text.replace("compdef _groundstate groundstate", "compdef _groundstate_live groundstate")
        }
        _ => text,
    }
}

const BASH: &str = r#"
_groundstate_live() {
    _groundstate "$@"
    local cur="${COMP_WORDS[COMP_CWORD]}"
    [[ "$cur" == -* ]] && return 0
    local IFS=$'\n'
    COMPREPLY+=( $(compgen -W "$(groundstate complete-names -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$cur") )
}
complete -F _groundstate_live -o bashdefault -o default groundstate
"#;

const FISH: &str = r#"
complete -c groundstate -f -n 'not string match -q -- "-*" (commandline -ct)' -a '(groundstate complete-names -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
"#;

const ZSH: &str = r#"
_groundstate_live() {
    local -a names
    names=(${(f)"$(groundstate complete-names -- ${words[2,CURRENT]} 2>/dev/null)"})
    (( ${#names} )) && compadd -a names
    _groundstate "$@"
}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<Kind> {
        wanted(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn each_place_is_known_by_the_tree_of_commands() {
        for (line, path) in [
            ("recover ", "/api/v1/endpoints"),
            ("recover pre", "/api/v1/endpoints"),
            ("--url https://a net doctor p", "/api/v1/endpoints"),
            ("endpoint show -o json p", "/api/v1/endpoints"),
            ("job cancel ", "/api/v1/jobs"),
            ("image show ", "/api/v1/images"),
            ("drill report ", "/api/v1/drills"),
            ("drill run single --endpoint ", "/api/v1/endpoints"),
            ("person set ", "/api/v1/people"),
        ] {
            assert_eq!(of(line), Some(Kind::Of(path)), "{line}");
        }
        assert_eq!(of("runbook show "), Some(Kind::Runbooks));
        assert_eq!(of("drill run "), Some(Kind::Runbooks));
        for line in [
            "",
            "status ",
            "endpoint ",
            "endpoint add ",
            "recover press-01 --reason ",
            "runbook plan x --endpoints ",
            "recover press-01 x",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn an_appliance_that_does_not_answer_is_passed_over_in_silence_and_soon() {
        let reach = Reach {
            url: "https://127.0.0.1:1".to_owned(),
            pin: None,
            token_file: None,
            data_dir: "/nonexistent".into(),
        };
        assert_eq!(found(&reach, Kind::Of("/api/v1/endpoints")), "");
        assert!(found(&reach, Kind::Runbooks).contains("single-hmi-failed"));
    }

    #[test]
    fn every_shell_gets_them() {
        for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "groundstate", &mut text);
            let text = alive(shell, String::from_utf8(text).unwrap());
            assert!(text.contains("complete-names --"), "{shell}");
            assert!(
                shell != clap_complete::Shell::Zsh || text.contains("compdef _groundstate_live"),
                "{text}"
            );
        }
    }
}

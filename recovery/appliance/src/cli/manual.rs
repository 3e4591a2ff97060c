//! What ships beside the program: completions for shells, and manual pages, both from the command line's own words.

use std::{fs, path::Path};

use clap::{Command, CommandFactory as _};

use super::{Cli, Code, Fault, names};

/// Print the completions for a shell.
pub fn completions(shell: clap_complete::Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "groundstate", &mut text);
    print!("{}", names::alive(shell, String::from_utf8_lossy(&text).into_owned()));
}

/// Write `groundstate.1` and a page for each command.
pub fn pages(dir: &Path) -> Result<(), Fault> {
    let mut command = Cli::command();
    command.build();
    each(&command, "groundstate", dir)
}

fn each(command: &Command, name: &str, dir: &Path) -> Result<(), Fault> {
    let file = dir.join(format!("{name}.1"));
    let page = clap_mangen::Man::new(command.clone().display_name(name.to_owned()));
    let mut text = Vec::new();
    page.render(&mut text).and_then(|()| fs::write(&file, text)).map_err(|error| {
        let what = format!("{} cannot be written", file.display());
        Fault::new(Code::Failed, what, error.to_string(), "make the directory, or name another")
    })?;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help")
    {
        each(inner, &format!("{name}-{}", inner.get_name()), dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_what_is_hidden_has_none() {
        let dir = tempfile::tempdir().unwrap();
        pages(dir.path()).unwrap();
        for page in
            ["groundstate", "groundstate-recover", "groundstate-image-import", "groundstate-image-key-new"]
        {
            let text = fs::read_to_string(dir.path().join(format!("{page}.1"))).unwrap();
            assert!(text.contains(".SH NAME") && text.contains(&page.replace('-', "\\-")), "{page}: {text}");
        }
        assert!(!dir.path().join("groundstate-manual.1").exists());
        let why = pages(&dir.path().join("none")).unwrap_err().to_string();
        assert!(why.contains("make the directory"), "{why}");
    }
}

//! `groundstate`: the appliance and its command line, one binary.
//!
//! `groundstate serve` is the daemon; every other verb is a client like any other: it speaks REST, or works on a store.
//! This file is a dispatch table and decides nothing.

mod agents;
mod api;
mod asking;
mod attest;
mod backup;
mod boot;
mod chain;
mod cli;
mod clock;
mod config;
mod console;
mod control_plane;
mod daemon;
mod db;
mod depot;
mod directory;
mod doctor;
mod drills;
mod enrol;
mod evidence;
mod exhibits;
mod explain;
mod followed;
mod forward;
mod golden;
mod guard;
mod handed;
mod hooks;
mod injects;
mod interfaces;
mod jobs;
mod keys;
mod listening;
mod live;
mod maker_roots;
mod metrics;
mod notify;
mod passwords;
mod permit;
mod power;
mod provider;
mod refusals;
mod refused_start;
mod reload;
mod reports;
mod seal;
mod service;
mod setup;
mod sheet;
mod supervisor;
mod support;
mod takeover;
#[cfg(test)]
mod testing;
mod tickets;
mod tls;
mod upgrade;

use std::{
    panic,
    path::Path,
    process::{self, ExitCode},
    time::Duration,
};

use clap::Parser as _;

use crate::{
    cli::{Cli, Code, Command, ConfigVerb, Fault},
    config::Config,
    keys::Keys,
};

/// Where the package's unit has the configuration.
const USUAL_CONFIG: &str = "/etc/groundstate/groundstate.toml";

fn main() -> ExitCode {
    end_with_the_reader();
    if std::env::args_os().len() <= 1 {
        print!("{}", cli::START);
        return ExitCode::SUCCESS;
    }
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Doctor { config } => {
            return ended(
                configuration(config.as_deref(), cli.data_dir())
                    .and_then(|config| doctor::run(&config, cli.reach(), cli.form())),
            );
        }
        Command::Explain { code, language } => explained(code.as_deref(), language.as_deref(), cli.form()),
        Command::Support(order) => support(order, &cli),
        Command::Init { config } => init(config.as_deref(), cli.data_dir()),
        Command::Setup { answers, config } => set_up(answers.as_deref(), config),
        Command::Serve { config } => serve(config.as_deref(), cli.data_dir()),
        Command::Backup { file, state } => save(file, state, cli.data_dir()),
        Command::RestoreState { file, keep_database, state } => {
            restore_state(file, *keep_database, state, cli.data_dir())
        }
        Command::Takeover { reason, config } => take_over(reason, config.as_deref(), cli.data_dir()),
        Command::Config(verb @ (ConfigVerb::Check { .. } | ConfigVerb::Reference)) => about_config(verb),
        Command::Migrate { to, config } => migrate(*to, config.as_deref(), cli.data_dir()),
        Command::Upgrade { package, limit, state } => upgraded(package, *limit, state, cli.data_dir()),
        _ => cli::run(cli),
    };
    ended(done.map(|()| ExitCode::SUCCESS))
}

/// What a command says when it did not succeed, and with which code it ends.
fn ended(done: Result<ExitCode, Fault>) -> ExitCode {
    done.unwrap_or_else(|fault| {
        eprintln!("{fault}");
        fault.exit_code()
    })
}

/// What a code means, or all of them.
fn explained(code: Option<&str>, language: Option<&str>, output: cli::Output) -> Result<(), Fault> {
    let texts = explain::language(language)?;
    match code {
        Some(code) => cli::print(output, &explain::one(texts, code)?, explain::shown),
        None => cli::print(output, &explain::all(texts), |all| {
            let row = |one: &explain::Explained| vec![one.code.to_owned(), one.what.clone()];
            cli::table(&["CODE", "WHAT"], &all.iter().map(row).collect::<Vec<_>>())
        }),
    }
}

/// Pack what a supporter needs.
fn support(order: &cli::Support, cli: &Cli) -> Result<(), Fault> {
    let config = configuration(order.config.as_deref(), cli.data_dir())?;
    let recipients = order.recipients.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
    let recipients = recipients.map_err(|error| Fault::usage("nothing was packed", &error))?;
    support::run((&config, cli.reach()), &order.out, &recipients, cli.form())
}

/// Whoever reads our output may stop, as `head` does: that ends the command, and is no fault of it.
fn end_with_the_reader() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let broken = info
            .payload_as_str()
            .is_some_and(|why| why.starts_with("failed printing to stdout") && why.contains("Broken pipe"));
        if broken {
            // What a shell reports of a program that SIGPIPE has ended.
            process::exit(128 + 13);
        }
        usual(info);
    }));
}

/// The configuration, in the data directory that the file, the command line or the environment names.
fn configuration(config: Option<&Path>, data_dir: &Path) -> Result<Config, Fault> {
    let Some(path) = config else {
        return Ok(Config { data_dir: data_dir.to_owned(), ..Config::default() });
    };
    let config =
        Config::load(path).map_err(|error| Fault::usage("the configuration cannot be used", &error))?;
    let config = asked(config)?;
    let whole = |dir: &Path| std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let (usual, own, named) = (Config::default().data_dir, whole(&config.data_dir), whole(data_dir));
    if named == usual || named == own {
        return Ok(config);
    }
    if own == usual {
        return Ok(Config { data_dir: named, ..config });
    }
    let (own, named, file) = (own.display(), named.display(), path.display());
    let why = format!("{own} by {file}, {named} by --data-dir or GROUNDSTATE_DATA_DIR");
    Err(Fault::new(Code::Usage, "two data directories are named", why, "name one of them only"))
}

/// Where the keys are sealed by a passphrase that is in no file, ask for it.
fn asked(config: Config) -> Result<Config, Fault> {
    let mut config = config;
    if let Some(secrets) = &mut config.secrets
        && secrets.seal == seal::By::Passphrase
        && secrets.passphrase_file.is_none()
    {
        let is_new = !config.data_dir.join(seal::BY_PASSPHRASE).exists();
        let said = match is_new {
            true => cli::new_secret("New passphrase of the appliance: ", None)?,
            false => cli::secret("Passphrase of the appliance: ", None)?,
        };
        secrets.said = Some(seal::Said(zeroize::Zeroizing::new(said)));
    }
    Ok(config)
}

/// Run the appliance until it is told to stop.
fn serve(config: Option<&Path>, data_dir: &Path) -> Result<(), Fault> {
    daemon::log_to_stderr();
    if let Some(path) = config
        && let Err(error) = Config::load(path)
    {
        refused_start::keep(path, data_dir, &error.to_string());
    }
    daemon::serve(configuration(config, data_dir)?)
        .map_err(|error| Fault::of("the appliance stopped", &error, ""))
}

fn runtime() -> Result<tokio::runtime::Runtime, Fault> {
    tokio::runtime::Runtime::new().map_err(|error| Fault::of("the task runtime cannot be made", &error, ""))
}

/// Save the appliance's state into one encrypted file.
fn save(file: &Path, state: &cli::State, data_dir: &Path) -> Result<(), Fault> {
    let config = configuration(state.config.as_deref(), data_dir)?;
    let word = cli::new_secret("Passphrase for the backup: ", state.passphrase_file.as_deref())?;
    let saved = backup::save(&config, state.config.as_deref(), file, &word, backup::WORK);
    let saved = runtime()?.block_on(saved).map_err(|error| Fault::of("nothing was saved", &error, ""))?;
    eprintln!("saved {} files of {}, and read back; not in it: golden images", saved.files.len(), saved.site);
    eprintln!("the evidence log was then, to be kept apart:");
    print!("{}", saved.checkpoint);
    Ok(())
}

/// Restore it onto a machine that has none.
fn restore_state(file: &Path, keep: bool, state: &cli::State, data_dir: &Path) -> Result<(), Fault> {
    let config = configuration(state.config.as_deref(), data_dir)?;
    let word = cli::secret("Passphrase of the backup: ", state.passphrase_file.as_deref())?;
    let restored = runtime()?.block_on(backup::restore(&config, file, &word, keep)).map_err(|error| {
        let code = match &error {
            backup::StateError::Refused { .. } => Code::Integrity,
            backup::StateError::Exists(_) => Code::Conflict,
            _ => Code::Failed,
        };
        Fault::of("nothing was restored", &error, "").with(code)
    })?;
    println!("{} is {} again, with {} files", config.data_dir.display(), restored.site, restored.files.len());
    eprintln!(
        "the appliance that it was must stay off: both have one identity. Bring the golden images, then `groundstate serve`"
    );
    Ok(())
}

/// Be the appliance that writes; the one before it is fenced.
fn take_over(reason: &str, config: Option<&Path>, data_dir: &Path) -> Result<(), Fault> {
    let config = configuration(config, data_dir)?;
    let taken = runtime()?
        .block_on(takeover::take(&config, reason))
        .map_err(|error| Fault::of("nothing was taken over", &error, ""))?;
    let from = if taken.from.is_empty() { "nobody" } else { &taken.from };
    println!("this appliance writes from here on, by term {}; before it was {from}", taken.term);
    eprintln!(
        "the other one refuses its next write and stops; switch it off all the same, then `groundstate serve`"
    );
    Ok(())
}

/// Install another version, and stay with it until it serves.
fn upgraded(package: &Path, limit_s: u64, state: &cli::State, data_dir: &Path) -> Result<(), Fault> {
    let file = state.config.as_deref().unwrap_or(Path::new(USUAL_CONFIG));
    let config = configuration(Some(file), data_dir)?;
    let word = cli::new_secret("Passphrase for the backup: ", state.passphrase_file.as_deref())?;
    let limit = Duration::from_secs(limit_s);
    let order = upgrade::Order { package, config_file: file, config: &config, passphrase: &word, limit };
    let done = upgrade::run(&order, &mut |step| eprintln!("{step}")).map_err(|error| {
        let (what, code) = match &error {
            upgrade::UpgradeError::Refused(_) => ("there is no new version", Code::Conflict),
            upgrade::UpgradeError::RolledBack { .. } => ("the new version was taken back", Code::Failed),
            upgrade::UpgradeError::Down { .. } => ("the appliance does not serve", Code::Unavailable),
        };
        Fault::of(what, &error, &error.remedy()).with(code)
    })?;
    let kept = done.kept.display();
    println!(
        "{} took the place of {}; the old package and the saved state are in {kept}",
        done.to, done.from
    );
    if !done.serves {
        eprintln!("the appliance was off and is: whether it serves shows when it is started");
    }
    Ok(())
}

/// Which schema there is, or back to an older one.
fn migrate(to: Option<i64>, config: Option<&Path>, data_dir: &Path) -> Result<(), Fault> {
    let Some(to) = to else {
        println!("{}", db::known());
        return Ok(());
    };
    let config = configuration(config, data_dir)?;
    runtime()?
        .block_on(takeover::back_to(&config, to))
        .map_err(|error| Fault::of("the schema is as it was", &error, ""))?;
    println!("the database is at schema {to}: start the program that knows it, and not this one");
    Ok(())
}

/// Check a configuration, or say what may stand in one. Nothing is started, and no port is bound.
fn about_config(verb: &ConfigVerb) -> Result<(), Fault> {
    let refused =
        |why: String| Fault::new(Code::Usage, "the configuration cannot be used", why, "mend what it names");
    match verb {
        // The appliance's own: it is asked by REST.
        ConfigVerb::Reload => {}
        ConfigVerb::Reference => {
            print!("{}", config::keys::reference().map_err(refused)?);
        }
        ConfigVerb::Check { file } => {
            let config = Config::load(file)
                .map_err(|error| Fault::usage("the configuration cannot be used", &error))?;
            hooks::Hooks::open(&config.hooks).map_err(|error| refused(error.to_string()))?;
            notify::readable(&config).map_err(refused)?;
            println!("{} is sound", file.display());
        }
    }
    Ok(())
}

/// Ask what must be known, and write the configuration.
fn set_up(answers: Option<&Path>, config: &Path) -> Result<(), Fault> {
    let refused = |error: setup::SetupError| {
        let code = match &error {
            setup::SetupError::Exists(_) => Code::Conflict,
            setup::SetupError::Write { .. } | setup::SetupError::Interfaces(_) => Code::Failed,
            _ => Code::Usage,
        };
        Fault::of("nothing was set up", &error, "").with(code)
    };
    let local = setup::may(config).map_err(refused)?;
    let answers = match answers {
        Some(path) => setup::Answers::read(path),
        None => setup::Answers::ask(&mut std::io::stdin().lock(), &mut std::io::stderr(), &local),
    };
    let answers = answers.map_err(refused)?;
    setup::write(&answers, &local, config).map_err(refused)?;
    println!("{}", config.display());
    if let Some(besides) = setup::kept_out(&answers) {
        eprintln!("{besides}");
    }
    eprintln!(
        "it is written. Now: `systemctl enable --now groundstate` (or `groundstate serve --config` of it), then \
         `groundstate setup-code`, which makes the first admin in the console"
    );
    Ok(())
}

/// Make the data directory with its keys. What is there already stays.
fn init(config: Option<&Path>, data_dir: &Path) -> Result<(), Fault> {
    let config = configuration(config, data_dir)?;
    let _making = keys::making(&config.data_dir)
        .map_err(|error| Fault::of("the data directory cannot be made", &error, ""))?;
    let seal = seal::Seal::open(&config.data_dir, config.secrets.as_ref())
        .map_err(|error| Fault::of("the seal cannot be made", &error, ""))?;
    let keys = Keys::open_sealed(&config.data_dir, &[config.site.to_string()], &[], seal.as_ref())
        .map_err(|error| Fault::of("the data directory cannot be made", &error, ""))?;
    eprintln!("{} is ready; start the appliance with `groundstate serve`", config.data_dir.display());
    println!("{}", keys.spki_sha256);
    Ok(())
}

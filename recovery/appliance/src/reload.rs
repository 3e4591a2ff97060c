//! Another configuration put in force without a restart: all of it, or nothing.
//!
//! ```text
//! file ─► parsed and checked ─► does it change what only a start can change? ─► yes: refused, and named
//!                                       └─ no: channels, directory, provider opened ─► evidence `config.reloaded` ─► in force
//! ```
//!
//! No listener is touched, so no boot, no transfer and no session ends. It must never: put a part of a file in force.

use recovery_protocol::{Problem, notify::Reloaded};
use ring::digest;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    evidence::Fact,
    notify,
    service::{Actor, Inner, Service},
};

/// What differs: what can be put in force now, and what needs a restart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differs {
    /// Tables and keys at the top of the file.
    pub now: Vec<&'static str>,
    /// The same, that only a start reads.
    pub at_a_start: Vec<&'static str>,
}

/// What differs between the one in force and a new one.
#[must_use]
pub fn differs(old: &Config, new: &Config) -> Differs {
    // Each key by name: one that is new must be put on a side here.
    let Config {
        file: _,
        site,
        data_dir,
        database,
        secrets,
        boot_kit_dir,
        image_store_dir,
        trust_root_file,
        tpm_roots_dir,
        images,
        listen,
        serving,
        interfaces,
        groups,
        redundancy,
        blueprints,
        hooks,
        est,
        control_planes,
        evidence,
        exhibits,
        notify,
        stage_limits_s,
        directory,
        provider,
        attest_every_s,
        time_zone,
        kernel_args,
    } = new;
    let now = [
        ("groups", old.groups != *groups),
        ("redundancy", old.redundancy != *redundancy),
        ("blueprints", old.blueprints != *blueprints),
        ("evidence", old.evidence != *evidence),
        ("exhibits", old.exhibits != *exhibits),
        ("notify", old.notify != *notify),
        ("serving", old.serving != *serving),
        ("stage_limits_s", old.stage_limits_s != *stage_limits_s),
        ("directory", old.directory != *directory),
        ("provider", old.provider != *provider),
        ("attest_every_s", old.attest_every_s != *attest_every_s),
        ("time_zone", old.time_zone != *time_zone),
    ];
    let at_a_start = [
        ("site", old.site != *site),
        ("data_dir", old.data_dir != *data_dir),
        ("database", old.database != *database),
        ("secrets", old.secrets != *secrets),
        ("boot_kit_dir", old.boot_kit_dir != *boot_kit_dir),
        ("image_store_dir", old.image_store_dir != *image_store_dir),
        ("trust_root_file", old.trust_root_file != *trust_root_file),
        ("tpm_roots_dir", old.tpm_roots_dir != *tpm_roots_dir),
        ("images", old.images != *images),
        ("listen", old.listen != *listen),
        ("interfaces", old.interfaces != *interfaces),
        ("hooks", old.hooks != *hooks),
        ("est", old.est != *est),
        ("control_planes", old.control_planes != *control_planes),
        ("evidence.anchor_file", old.evidence.anchor_file != evidence.anchor_file),
        ("exhibits.dir", old.exhibits.dir != exhibits.dir),
        ("kernel_args", old.kernel_args != *kernel_args),
    ];
    let which =
        |all: &[(&'static str, bool)]| all.iter().filter(|(_, is)| *is).map(|(key, _)| *key).collect();
    Differs { now: which(&now), at_a_start: which(&at_a_start) }
}

/// Put the file that the appliance was started with in force as it is now. 409 `no-file`, `needs-restart`, 422 `config-refused`.
///
/// # Errors
/// [`Problem`]; nothing was changed then.
pub async fn reload(inner: &Inner, actor: &Actor) -> Result<Reloaded, Problem> {
    let journal = &inner.journal;
    match fitting(inner).await {
        Ok((config, changed, digest)) => {
            if changed.is_empty() {
                return Ok(Reloaded { changed: Vec::new(), sha256: digest });
            }
            let changed: Vec<String> = changed.into_iter().map(str::to_owned).collect();
            let opened = notify::open(&config, journal, &inner.channels).map_err(refused)?;
            let elsewhere = inner.followed.elsewhere.now();
            let elsewhere = elsewhere.instead(&journal.config, &config).map_err(refused)?;
            let caps = (journal.config.serving != config.serving).then(|| config.serving.clone());
            let facts = json!({ "changed": changed, "sha256": digest, "file": config.file });
            journal.note(Fact::new("config.reloaded", &actor.name, facts)).await?;
            journal.config.replace(config);
            inner.channels.replace(opened);
            inner.followed.elsewhere.replace(elsewhere);
            if let Some(caps) = caps {
                inner.followed.governor.follow(&caps);
            }
            journal.touch();
            tracing::info!(?changed, "another configuration is in force");
            Ok(Reloaded { changed, sha256: digest })
        }
        Err(problem) => {
            tracing::warn!(why = problem.detail, "the configuration stays as it was");
            let facts = json!({ "failure": problem.detail, "reload": true });
            journal.note(Fact::new("refusal.config", &actor.name, facts)).await?;
            Err(problem)
        }
    }
}

/// SIGHUP does the same, until told to stop.
pub async fn on_hangup(service: &Service, stop: CancellationToken) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            tracing::error!(%error, "SIGHUP is not heard; `groundstate config reload` does the same");
            return stop.cancelled().await;
        }
    };
    let actor = Actor { name: "operator:shell".to_owned(), scope: None };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            told = hangup.recv() => if told.is_none() { return stop.cancelled().await },
        }
        // What came of it is in the log of the appliance, and in evidence.
        let _ = service.reload(&actor).await;
    }
}

fn refused(why: String) -> Problem {
    let remedy = "mend the file; the appliance goes on as before";
    Problem::new(422, "config-refused", "The configuration cannot be used", why, remedy)
}

async fn fitting(inner: &Inner) -> Result<(Config, Vec<&'static str>, String), Problem> {
    let old: &Config = &inner.journal.config;
    let Some(file) = old.file.clone() else {
        let remedy = "start it with `groundstate serve --config FILE`";
        let detail = "it was started without a file";
        return Err(Problem::new(409, "no-file", "There is no configuration to read again", detail, remedy));
    };
    let read = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(&file).unwrap_or_default();
        Config::load(&file).map(|config| (config, hex::encode(digest::digest(&digest::SHA256, &bytes))))
    });
    let (mut config, digest) = read
        .await
        .map_err(|error| refused(error.to_string()))?
        .map_err(|error| refused(error.to_string()))?;
    // What a start took from the command line, or was told by a person, is not in the file.
    if config.data_dir == Config::default().data_dir {
        config.data_dir.clone_from(&old.data_dir);
    }
    if let (Some(new), Some(old)) = (&mut config.secrets, &old.secrets) {
        new.said.clone_from(&old.said);
    }
    let Differs { now, at_a_start } = differs(old, &config);
    if !at_a_start.is_empty() {
        let detail =
            format!("it changes {}, which only a start reads; nothing was changed", at_a_start.join(", "));
        let remedy = "restart the appliance (`systemctl restart groundstate`) when no recovery would mind, or take that back";
        return Err(Problem::new(409, "needs-restart", "This configuration needs a restart", detail, remedy));
    }
    Ok((config, now, digest))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::http::StatusCode;

    use super::*;
    use crate::testing::{Bench, CONFIG};

    /// An appliance that was started with a file, and the file.
    async fn started(more: &str) -> (Bench, std::path::PathBuf) {
        let bench = Bench::new(more).await;
        let file = bench.data.path().join("groundstate.toml");
        write(&file, more);
        let config = Config::load(&file).unwrap();
        bench.journal.config.replace(config);
        (bench, file)
    }

    fn write(file: &Path, more: &str) {
        std::fs::write(file, format!("data_dir = \"state\"\n{CONFIG}{more}")).unwrap();
    }

    #[tokio::test]
    async fn what_can_change_is_in_force_at_once_and_is_in_evidence_with_its_digest() {
        let (bench, file) = started("").await;
        let reload = || bench.ask("POST", "/api/v1/config/reload", json!({}));
        assert_eq!(reload().await.1["changed"], json!([]));
        write(&file, "[groups.line]\nsafety_class = 2\n[notify]\nbackup_every_days = 3\n");
        let (status, answer) = reload().await;
        assert_eq!((status, &answer["changed"]), (StatusCode::OK, &json!(["groups", "notify"])), "{answer}");
        let digest = hex::encode(digest::digest(&digest::SHA256, &std::fs::read(&file).unwrap()));
        assert_eq!(answer["sha256"], digest);
        assert_eq!(bench.journal.config.groups.len(), 2);
        let log = bench.service.evidence_lines(None).await.unwrap().join("\n");
        assert!(log.contains("config.reloaded") && log.contains(&digest), "{log}");
        // Whoever read it before reads the new one now.
        bench.add("press-01", "52:54:00:00:00:01", json!({ "group": "line" })).await;
        let job = bench.recover("press-01").await;
        bench.runner().settle().await.unwrap();
        let held = bench.service.job(job.job).await.unwrap();
        assert!(format!("{:?}", held.state).contains("AwaitingApproval"), "{held:?}");
    }

    #[tokio::test]
    async fn limits_caps_and_those_from_elsewhere_follow_and_what_did_not_change_stays() {
        let provider = "[provider]\nissuer = \"https://sso.plant\"\naddress = \"https://appliance.plant\"\nclient_id = \"gs\"\nlabel = \"Werk-SSO\"\n[provider.roles]\n\"line\" = \"engineer\"\n";
        let (bench, file) = started("").await;
        let reload = || bench.ask("POST", "/api/v1/config/reload", json!({}));
        let elsewhere = bench.service.elsewhere();
        assert!(elsewhere.now().provider.is_none());
        let more = "[serving]\ntotal_mib_per_s = 7\n[stage_limits_s]\nos_wait = 77\n";
        write(&file, &format!("{more}{provider}"));
        let (status, answer) = reload().await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["changed"], json!(["serving", "stage_limits_s", "provider"]), "{answer}");
        let first = elsewhere.now().provider.unwrap();
        assert!(bench.service.governor().is_capped());
        assert_eq!(bench.journal.config.stage_limits_s.len(), 1);
        let (_, page) = bench.ask("GET", "/login", json!(null)).await;
        assert!(page.as_str().unwrap().contains("Werk-SSO"), "{page}");
        // Whoever is signing in by it goes on while something else is put in force.
        write(&file, &format!("[serving]\ntotal_mib_per_s = 8\n{provider}"));
        assert_eq!(reload().await.1["changed"], json!(["serving", "stage_limits_s"]));
        assert!(std::sync::Arc::ptr_eq(&first, &elsewhere.now().provider.unwrap()));
        write(&file, &provider.replace("client_id", "client_secret_file = \"none\"\nclient_id"));
        let (status, answer) = reload().await;
        assert_eq!((status, &answer["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("config-refused")));
        assert!(bench.service.governor().is_capped(), "nothing of a file that is refused");
        write(&file, "");
        assert_eq!(reload().await.1["changed"], json!(["serving", "provider"]));
        assert!(elsewhere.now().provider.is_none() && !bench.service.governor().is_capped());
    }

    #[tokio::test]
    async fn a_wrong_file_or_one_that_needs_a_restart_changes_nothing_and_says_so() {
        let (bench, file) = started("").await;
        for (more, status, words) in [
            ("[groups.line]\nmode = \"aprove\"\n", StatusCode::UNPROCESSABLE_ENTITY, "aprove"),
            (
                "[groups.line]\nmode = \"approve\"\n[listen]\npeople_port = 444\n",
                StatusCode::CONFLICT,
                "changes listen,",
            ),
        ] {
            write(&file, more);
            let (seen, answer) = bench.ask("POST", "/api/v1/config/reload", json!({})).await;
            assert_eq!(seen, status, "{answer}");
            assert!(answer["detail"].as_str().unwrap().contains(words), "{answer}");
            assert_eq!(bench.journal.config.groups.len(), 1);
        }
        let refusals = bench.evidence(None).await.into_iter().filter(|kind| kind == "refusal.config").count();
        assert_eq!(refusals, 2);
        let bare = Bench::new("").await;
        assert_eq!(bare.ask("POST", "/api/v1/config/reload", json!({})).await.0, StatusCode::CONFLICT);
    }
}

//! `groundstate image restore`: a golden image onto a file, by the same path that an endpoint takes: scan, delta plan,
//! poison, write, read back, boot region last. For spare disks, for looking into an image, and for measuring.
//!
//! It writes to regular files only: whoever wants a disk written boots the recovery system.

use std::path::{Path, PathBuf};

use images::{
    KeyRing, Store,
    restore::{EndpointFacts, ReadBack, RestoreError, RestorePlan, file::FileTarget, scan},
};
use indicatif::ProgressBar;

use super::{
    fault::{Code, Fault},
    show,
};
use crate::cli::{Output, say};

/// What to restore, and where to.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// Id, name or name:version
    pub image: String,
    /// File to write; made when missing, and brought to the image when there
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Print the delta plan and write nothing
    #[arg(long)]
    pub plan: bool,
}

/// Restore `signed` onto the file.
///
/// # Errors
/// Integrity when no trusted key signed it; failed when a file or chunk cannot be had.
pub fn restore(
    store: &Store,
    ring: &KeyRing,
    signed: images::SignedManifest,
    to: &Path,
    plan_only: bool,
    output: Output,
    bar: &ProgressBar,
) -> Result<(), Fault> {
    let untrusted = |error: &dyn std::error::Error| {
        Fault::new(
            Code::Integrity,
            "the image is not trusted",
            error.to_string(),
            "sign it: `groundstate image sign`",
        )
    };
    let verified = ring.verify(signed).map_err(|error| untrusted(&error))?;
    let header = verified.header();
    let (size, sector) = (header.disk.size, header.disk.sector_size);
    let is_new = !to.exists();
    let target = if !is_new { FileTarget::open(to, sector) } else { FileTarget::create(to, size, sector) };
    let target =
        target.map_err(|error| Fault::of("the file cannot be written", &error, "name another with --to"))?;
    let facts =
        EndpointFacts { arch: header.identity.arch.clone(), hardware_class: None, uefi: None, agent: None };
    let progress = |event: images::restore::ProgressEvent| {
        bar.set_length(event.total);
        bar.set_position(event.done);
    };
    let failed = |error: RestoreError| {
        Fault::of("the image was not restored", &error, "mend the cause; running it again goes on")
    };
    let scan = scan(&verified, &target, &progress).map_err(failed)?;
    let plan = RestorePlan::new(&verified, scan, &facts).map_err(|error| failed(error.into()))?;
    if plan_only {
        bar.finish_and_clear();
        match output.is_data() {
            true => say(output, &plan.summary())?,
            false => println!("{plan}"),
        }
        // It was made to be looked at only.
        return match is_new {
            true => std::fs::remove_file(to)
                .map_err(|error| Fault::of("the empty file is still there", &error, "remove it")),
            false => Ok(()),
        };
    }
    let written =
        plan.poison(&target).and_then(|poisoned| poisoned.write(store, &progress)).map_err(failed)?;
    let proven = written.read_back(ReadBack::Everything).map_err(failed)?;
    let stats = proven.commit_boot_region().map_err(failed)?.stats();
    bar.finish_and_clear();
    if output.is_data() {
        say(output, &stats)?;
    } else {
        println!(
            "restored: {} kept, {} written, {} made zero, {} read back",
            show::bytes(stats.kept),
            show::bytes(stats.written),
            show::bytes(stats.zeroed),
            show::bytes(stats.read_back)
        );
    }
    Ok(())
}

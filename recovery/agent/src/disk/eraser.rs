//! Erases a disk as its blueprint demands, and says what the disk said.
//!
//! ```text
//!   offer, sanitize status ─► way chosen ──────────► samples read ─► poisoned ─► erased ─► samples read again ─► EraseFacts
//!            │                    none: refused                                     ▲             as before: failed
//!            └─ at it, or done since an earlier attempt ───────── waited for ───────┘
//! ```
//!
//! A sanitize goes on through resets and power cuts, and its disk takes nothing else meanwhile: so what the disk is at is asked first,
//! and taken for ours when it satisfies the policy. A finished one is taken only when the disk says that nothing was written to
//! it since. All else begins anew after a power cut; the disk was poisoned before, so it does not boot in between.
//!
//! It must never send a command before the poison, nor take a disk's word where its samples say otherwise.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use images::disk::{AlignedBuf, RestoreTarget};
use images::restore::RestoreError;
use recovery_protocol::erase::{EraseFacts, EraseFound, EraseMethod, ErasePolicy};

use super::commands::{self, SanitizeStatus, Sanitizing};
use super::erase::{self, NAMESPACE};
use super::health::LIMIT;
use super::port::Port;
use super::samples::Samples;

/// Longest that one command may take: formatting answers when it is done.
const COMMAND_MAX: Duration = Duration::from_secs(12 * 3600);
/// So many questions in a row may go unanswered while a disk sanitizes itself.
const SILENCES_MAX: u32 = 30;
/// Zeros written at once.
const ZEROS_LEN: usize = 4 << 20;
/// Bytes discarded at once.
const DISCARD_LEN: u64 = 1 << 30;

/// How whoever waits is told, and tells.
pub struct Watch<'a> {
    /// Returns after the time between two questions to the disk.
    pub pause: &'a (dyn Fn() + Sync),
    /// Is told how many bytes of how many are done, as far as the disk tells.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Whether to stop waiting. What a disk does by itself it goes on with.
    pub halted: &'a (dyn Fn() -> bool + Sync),
}

/// Why a disk is not erased. All but the first two come after its poison.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// None of its ways satisfies the policy.
    #[error("the blueprint demands `{}`, and the disk offers {offer}", policy.label())]
    Unsupported {
        /// What is demanded.
        policy: ErasePolicy,
        /// What it offers, in words.
        offer: String,
    },
    /// The firmware has frozen it.
    #[error(
        "the blueprint demands `{}`, and the disk's sanitize commands are frozen until it is switched off and on",
        policy.label()
    )]
    Frozen {
        /// What is demanded.
        policy: ErasePolicy,
    },
    /// It could not be made unbootable first.
    #[error("the disk could not be made ready to be erased")]
    Poison(#[from] RestoreError),
    /// A command failed.
    #[error("the disk did not take the command for {}", method.label())]
    Command {
        /// For which way.
        method: EraseMethod,
        /// The kernel's words, or the disk's.
        source: io::Error,
    },
    /// The disk says that it failed, or does not know of what it was told.
    #[error("{} failed by the disk's own word ({said})", method.label())]
    Failed {
        /// Which way.
        method: EraseMethod,
        /// What it said.
        said: String,
    },
    /// It says that it is erased, and it is not.
    #[error(
        "the disk says that {} is done, and at byte {offset} it still gives back what stood there before",
        method.label()
    )]
    Unchanged {
        /// Which way.
        method: EraseMethod,
        /// Where.
        offset: u64,
    },
    /// Zeros were written, and something else is read.
    #[error("the disk was overwritten with zeros, and at byte {offset} it gives back something else")]
    NotZero {
        /// Where.
        offset: u64,
    },
    /// It cannot be read afterwards.
    #[error("the disk cannot be read at byte {offset} after it was erased")]
    Unreadable {
        /// Where.
        offset: u64,
        /// The kernel's words.
        source: io::Error,
    },
    /// The appliance said to stop.
    #[error("stopped while the disk was being erased")]
    Halted,
}

/// An erasure that was chosen and has not begun.
pub struct Erasure<'a> {
    port: &'a dyn Port,
    transport: &'a str,
    policy: ErasePolicy,
    method: EraseMethod,
    found: EraseFound,
    /// The disk is at a sanitize, whosever it is.
    running: bool,
    reported: Vec<String>,
}

/// How far a disk's sanitize is; `None` where it does not say.
fn sanitize_status(port: &dyn Port, transport: &str) -> Option<SanitizeStatus> {
    match transport {
        "nvme" => {
            let mut page = [0; 512];
            port.nvme_admin(commands::nvme_sanitize_log(), &mut page, LIMIT).ok()?;
            Some(commands::of_sanitize_log(&page))
        }
        "ata" => {
            let answer = port.scsi(commands::ata_sanitize_status(), &mut [], LIMIT).ok()?;
            commands::of_ata_sanitize(&answer.sense)
        }
        _ => None,
    }
}

fn is_sanitize(method: EraseMethod) -> bool {
    commands::nvme_sanitize(method).is_some()
}

impl<'a> Erasure<'a> {
    /// Chooses the way by what the disk behind `port` offers and what it is at. Nothing is written.
    ///
    /// # Errors
    /// [`EraseError::Unsupported`], [`EraseError::Frozen`].
    pub fn choose(port: &'a dyn Port, transport: &'a str, policy: ErasePolicy) -> Result<Self, EraseError> {
        let offered = erase::offered(port, transport);
        let sanitizes = offered.offer.methods.iter().any(|method| is_sanitize(*method));
        let status = sanitizes.then(|| sanitize_status(port, transport)).flatten();
        let state = status.as_ref().map(|status| status.state);
        let takes = |method: EraseMethod| match method {
            EraseMethod::Overwrite => true,
            EraseMethod::Discard => port.discards(),
            own if is_sanitize(own) && state == Some(Sanitizing::Frozen) => false,
            own => offered.offer.methods.contains(&own),
        };
        let satisfies = |method: &EraseMethod| policy.methods().contains(method);
        let its_own = status.as_ref().and_then(|status| status.method).filter(satisfies);
        let (found, adopted) = match (state, its_own) {
            (Some(Sanitizing::Running(_)), Some(method)) => (EraseFound::Running, Some(method)),
            (Some(Sanitizing::Done { untouched: true }), Some(method)) => (EraseFound::Done, Some(method)),
            _ => (EraseFound::Nothing, None),
        };
        let method = adopted.or_else(|| policy.methods().iter().copied().find(|method| takes(*method)));
        let Some(method) = method else {
            return Err(match state {
                Some(Sanitizing::Frozen) => EraseError::Frozen { policy },
                _ => EraseError::Unsupported { policy, offer: offered.offer.to_string() },
            });
        };
        let running = matches!(state, Some(Sanitizing::Running(_)));
        let said = [offered.said, status.map_or_else(String::new, |status| status.words)];
        let reported = said.into_iter().filter(|line| !line.is_empty()).collect();
        Ok(Self { port, transport, policy, method, found, running, reported })
    }

    /// The way that was chosen.
    pub fn method(&self) -> EraseMethod {
        self.method
    }

    /// Erases `target`, the disk behind the port; `poison` makes it unbootable first.
    ///
    /// # Errors
    /// [`EraseError`]: it counts as not erased.
    pub fn run(
        mut self,
        target: &dyn RestoreTarget,
        poison: impl FnOnce() -> Result<(), RestoreError>,
        watch: &Watch<'_>,
    ) -> Result<EraseFacts, EraseError> {
        let begin = Instant::now();
        let method = self.method;
        let failed = |source| EraseError::Command { method, source };
        let mut samples = Samples::choose(target).map_err(failed)?;
        if self.running {
            let own = (self.found == EraseFound::Running).then_some(method);
            self.wait(target.size(), own, watch)?;
            self.running = false;
        }
        if self.found == EraseFound::Nothing {
            samples.read_before(target);
            poison()?;
            self.act(target, watch)?;
        }
        let found = samples
            .read_after(target)
            .map_err(|(offset, source)| EraseError::Unreadable { offset, source })?;
        match (method, found.unchanged_at, found.not_zero_at) {
            (EraseMethod::Discard, ..) => {}
            (_, Some(offset), _) => return Err(EraseError::Unchanged { method, offset }),
            (EraseMethod::Overwrite, None, Some(offset)) => return Err(EraseError::NotZero { offset }),
            (_, None, _) => {}
        }
        Ok(EraseFacts {
            policy: self.policy,
            method,
            found: self.found,
            reported: self.reported,
            seconds: begin.elapsed().as_secs(),
            samples: found.samples,
        })
    }

    fn act(&mut self, target: &dyn RestoreTarget, watch: &Watch<'_>) -> Result<(), EraseError> {
        match self.method {
            EraseMethod::Overwrite => self.overwrite(target, watch),
            EraseMethod::Discard => self.discard(target, watch),
            EraseMethod::FormatCrypto | EraseMethod::FormatUserData => self.format(target.size(), watch),
            EraseMethod::SanitizeCrypto
            | EraseMethod::SanitizeBlock
            | EraseMethod::SanitizeOverwrite
            | EraseMethod::SecurityEnhanced
            | EraseMethod::Security => self.sanitize(target.size(), watch),
        }
    }

    fn failed(&self, said: impl Into<String>) -> EraseError {
        EraseError::Failed { method: self.method, said: said.into() }
    }

    fn command(&self, source: io::Error) -> EraseError {
        EraseError::Command { method: self.method, source }
    }

    fn sanitize(&mut self, size: u64, watch: &Watch<'_>) -> Result<(), EraseError> {
        let no_command = || io::Error::from(io::ErrorKind::Unsupported);
        match self.transport {
            "nvme" => {
                let command = commands::nvme_sanitize(self.method).ok_or_else(no_command);
                let sent = command.and_then(|command| self.port.nvme_admin(command, &mut [], LIMIT));
                sent.map_err(|source| self.command(source))?;
            }
            _ => {
                let command = commands::ata_sanitize(self.method).ok_or_else(no_command);
                let sent = command.and_then(|command| self.port.scsi(command, &mut [], LIMIT));
                let answer = sent.map_err(|source| self.command(source))?;
                let status = commands::of_ata_sanitize(&answer.sense);
                if status.is_none_or(|status| status.state == Sanitizing::Failed) {
                    let refused = format!(
                        "the disk refused it (status {}, sense {:02x?})",
                        answer.status, answer.sense
                    );
                    return Err(self.command(io::Error::other(refused)));
                }
            }
        }
        self.wait(size, Some(self.method), watch)
    }

    /// Waits until the disk is not sanitizing any more. A success must be of the way `own`, where that is given and the disk tells;
    /// and on NVMe it must be seen to be new.
    fn wait(&mut self, size: u64, own: Option<EraseMethod>, watch: &Watch<'_>) -> Result<(), EraseError> {
        let (mut silences, mut seen_running) = (0, self.running || self.transport != "nvme");
        loop {
            let Some(status) = sanitize_status(self.port, self.transport) else {
                silences += 1;
                if silences > SILENCES_MAX {
                    return Err(self.failed("it does not say how far it is any more"));
                }
                self.pause(watch)?;
                continue;
            };
            silences = 0;
            match status.state {
                Sanitizing::Running(done) => {
                    seen_running = true;
                    let share = u128::from(size) * u128::from(done) / 65536;
                    (watch.progress)(u64::try_from(share).unwrap_or(size), size);
                    self.pause(watch)?;
                }
                Sanitizing::Done { untouched } => {
                    let is_own = status.method.is_none_or(|is| own.is_none_or(|own| is == own));
                    // The disk was poisoned before the command: a success since which nothing was written is of this one.
                    if !(is_own && (untouched || seen_running)) {
                        return Err(self.failed(status.words));
                    }
                    self.reported.push(status.words);
                    return Ok(());
                }
                Sanitizing::Never | Sanitizing::Failed | Sanitizing::Frozen => {
                    return Err(self.failed(status.words));
                }
            }
        }
    }

    fn pause(&self, watch: &Watch<'_>) -> Result<(), EraseError> {
        (watch.pause)();
        if (watch.halted)() { Err(EraseError::Halted) } else { Ok(()) }
    }

    /// Formatting answers when it is done, and says nothing meanwhile; a thread waits for it, so that we are heard. It cannot be
    /// stopped: a halt is seen to after it.
    fn format(&mut self, size: u64, watch: &Watch<'_>) -> Result<(), EraseError> {
        let command = self.port.nvme_namespace().and_then(|namespace| {
            let identified = erase::identify_nvme(self.port, NAMESPACE, namespace)?;
            commands::nvme_format(self.method, namespace, &identified)
                .ok_or_else(|| io::ErrorKind::Unsupported.into())
        });
        let command = command.map_err(|source| self.command(source))?;
        let port = self.port;
        let sent = std::thread::scope(|scope| {
            let (done, ends) = mpsc::channel();
            scope.spawn(move || done.send(port.nvme_admin(command, &mut [], COMMAND_MAX)));
            loop {
                match ends.try_recv() {
                    Ok(sent) => return sent,
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => {
                        return Err(io::Error::other("the thread that formats ended"));
                    }
                }
                (watch.progress)(0, size);
                (watch.pause)();
            }
        });
        sent.map_err(|source| self.command(source))?;
        let (namespace, cdw10) = (command.namespace, command.cdw10);
        self.reported.push(format!(
            "Format NVM of namespace {namespace} with CDW10 {cdw10:#010x}: completed, status 0"
        ));
        Ok(())
    }

    fn overwrite(&mut self, target: &dyn RestoreTarget, watch: &Watch<'_>) -> Result<(), EraseError> {
        let zeros = AlignedBuf::new(ZEROS_LEN);
        let size = target.size();
        for start in (0..size).step_by(ZEROS_LEN) {
            let len = (size - start).min(ZEROS_LEN as u64) as usize;
            target.write_at(start, &zeros[..len]).map_err(|source| self.command(source))?;
            (watch.progress)(start, size);
            if (watch.halted)() {
                return Err(EraseError::Halted);
            }
        }
        target.flush().map_err(|source| self.command(source))?;
        self.reported.push(format!("{size} bytes of zeros written and flushed"));
        Ok(())
    }

    fn discard(&mut self, target: &dyn RestoreTarget, watch: &Watch<'_>) -> Result<(), EraseError> {
        let size = target.size();
        for start in (0..size).step_by(DISCARD_LEN as usize) {
            let end = size.min(start + DISCARD_LEN);
            self.port.discard(start..end).map_err(|source| self.command(source))?;
            (watch.progress)(end, size);
            if (watch.halted)() {
                return Err(EraseError::Halted);
            }
        }
        target.flush().map_err(|source| self.command(source))?;
        self.reported.push(format!("{size} bytes discarded"));
        Ok(())
    }
}

#[cfg(test)]
#[path = "eraser_tests.rs"]
mod tests;

//! The verifier: proof that an endpoint is itself and booted what it should. Pure functions over bytes; no I/O, no clock.
//!
//! ```text
//! hello  ─► EkPublic, AkPublic ─► make_credential ─► challenge
//!        └─► EK certificate ─► maker_of ─► who vouches for this TPM
//! proof  ─► activated secret equal ─► verify_quote ─► VerifiedQuote ─► judge ─► Verdict
//!                                 └─► verify_certify ─► CertifiedTlsKey (the key that may be enrolled)
//! ```
//!
//! # What a boot measures
//!
//! Found by booting and comparing each event with the file it came from (see `fixtures/measure.sh`): OVMF 2022.11, Debian's
//! shim 16.1, GRUB 2.06-13+deb12u2, kernel 6.1, systemd-stub 252, iPXE of 2019. "PE hash" is the Authenticode SHA-256.
//!
//! | chain | PCR 4, in order | PCR 8 | PCR 9 | PCR 11, 12 |
//! |---|---|---|---|---|
//! | shim, GRUB, `linuxefi` (disk or TFTP) | PE hash of shim, GRUB; with Secure Boot on also of the kernel, **twice** | each command; the kernel's command line | SHA-256 of each file GRUB reads, each time: `grub.cfg`, kernel, initrd | – |
//! | UKI from firmware | PE hash of the UKI, then of its `.linux` | – | kernel arguments (UTF-16LE with NUL); initrd | 11: name with NUL, then content, of `.linux .osrel .cmdline .initrd` |
//! | iPXE, then UKI | PE hash of iPXE, of the UKI **twice** (probed, then run), of its `.linux` | – | as above; iPXE puts the file's name before the arguments | 11 as above; 12: the arguments, as in 9 |
//!
//! - A GRUB event of PCR 8 is `grub_cmd: X` or `kernel_cmdline: X`, its digest SHA-256(X) without label and NUL.
//! - GRUB 2.06's plain `linux`, with Secure Boot off, leaves boot services itself: the kernel's EFI stub never runs and
//!   Linux shows **no event log**. Golden images say `linuxefi` and `initrdefi`, which work either way.
//! - A failed network boot before the disk's leaves pairs of "Calling…" and "Returning…" in PCR 4, and the PE hash of what it
//!   had loaded (iPXE that ended with `exit 1`).
//! - PCR 10 is extended by the kernel after the boot, PCR 1, 3, 5 and 6 change with boot entries and disk identifiers: they
//!   are not quoted.
//!
//! It must never decide by an event's type or data alone: they are not part of what the TPM signs.

mod age;
mod counted;
mod credential;
mod maker;
mod policy;
mod quote;

pub use age::boot_age;
pub use counted::Counted;
pub use credential::{AkPublic, Credential, EkPublic, IdentityError, make_credential, make_rsa_credential};
pub use maker::{MakerError, MakerRoots, RootError, maker_of};
pub use policy::{BootExpectation, Finding, FirmwareBaseline, Verdict, judge};
pub use quote::{CertifiedTlsKey, QuoteError, QuoteEvidence, VerifiedQuote, verify_certify, verify_quote};

/// The PCRs that a challenge asks for, of the SHA-256 bank.
pub const QUOTED_PCRS: [u8; 8] = [0, 2, 4, 7, 8, 9, 11, 12];

#[cfg(test)]
pub mod tests;

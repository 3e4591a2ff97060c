//! The lab: a virtual plant on one computer, and the words in which a test tells its story.
//!
//! ```text
//!   outside ── terminal, packages, cache, forwarded console port
//!   ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄ plant: user, network and process namespace ┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄
//!   appliance 10.77.0.1 ──┬── bridge plant0 ──┬── tap0 ── press-01 (QEMU, OVMF, swtpm, NVMe, serial)
//!                         │                   └── tap1 ── press-02
//!                         └── BMC of press-01 at 10.77.0.201 (ipmi_sim) ── power of the QEMU process
//! ```
//!
//! Modules by noun: [`setup`] the Debian packages, [`cache`] what is kept between runs, [`tool`] outside programs, [`plant`] the
//! network, [`endpoint`] a computer with [`qemu`] as its board and [`swtpm`] as its TPM and its firmware's [`variables`], [`foreign`] boards of other processors, [`debs`] packages that are only unpacked, [`screen`] what stands on it, [`bmc`] its remote power, [`golden`] the disk state
//! to return to, [`fault`] what goes wrong, [`story`] waiting for what should happen, [`programs`] the real binaries, [`package`] them as Debian installs them, [`site`] an appliance with
//! everything it needs, [`verifier`] the site's attestation verifier, [`keylime`] Keylime's own, [`chromium`] a browser with [`axe`] in it and [`simulated`] endpoints for what people see, [`demo`] the main job with [`show`] as its face, [`verify`] every test with [`licences`] among them.
//!
//! The lab speaks to real binaries over real sockets. It never imports the appliance or the agent, and never fakes a step of theirs.

pub mod axe;
#[path = "../bench/mod.rs"]
pub mod bench;
pub mod bmc;
pub mod cache;
pub mod chromium;
pub mod crew;
pub mod debs;
pub mod demo;
pub mod endpoint;
pub mod fault;
pub mod foreign;
pub mod golden;
pub mod keylime;
pub mod licences;
pub mod measure;
pub mod package;
pub mod plant;
pub mod programs;
pub mod qemu;
pub mod redfish;
pub mod sbom;
pub mod screen;
pub mod setup;
pub mod show;
pub mod simulated;
pub mod site;
pub mod story;
pub mod swtpm;
pub mod tool;
pub mod variables;
pub mod verifier;
pub mod verify;

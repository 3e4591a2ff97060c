//! The board of a virtual endpoint: which QEMU command line it is, and the monitor socket (QMP) of a running one.
//!
//! Software emulation only: a KVM device file proves nothing in a nested virtual machine (guests die under OVMF), and a lab that behaves the
//! same everywhere is worth more than a fast one. [`arguments`] is a pure function; [`Monitor`] only reads and writes its socket.
//!
//! A guest's reset ends the QEMU process (`-action reboot=shutdown`), so that "boot once from the network" is once, as on real boards: the
//! next process gets the next boot order.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::variables::Enrolled;

/// What the board runs before the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// UEFI without Secure Boot.
    Ovmf,
    /// UEFI with Secure Boot on and Microsoft's keys enrolled, as boards are sold.
    OvmfSecureBoot,
    /// Legacy BIOS.
    SeaBios,
}

impl Firmware {
    /// The firmware's code and its fresh variable store, where it has one.
    #[must_use]
    pub fn flash(self) -> Option<(&'static Path, &'static Path)> {
        let (code, vars) = match self {
            Self::Ovmf => ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
            Self::OvmfSecureBoot => {
                ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
            }
            Self::SeaBios => return None,
        };
        Some((Path::new(code), Path::new(vars)))
    }
}

/// How the disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskBus {
    /// NVMe; its WWID is made from the serial number.
    Nvme,
    /// AHCI SATA.
    Sata,
    /// A paravirtual disk, as under most hypervisors.
    Virtio,
}

/// The network adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nic {
    /// Paravirtual; OVMF brings its own driver.
    Virtio,
    /// Intel 82574L; UEFI reaches it through the iPXE option ROM, which Secure Boot refuses.
    E1000e,
}

/// A recovery stick's image, and what it looks like to the board.
#[derive(Debug, Clone)]
pub enum Stick {
    /// A USB disk that does not call itself removable, as many do.
    Usb(PathBuf),
    /// A USB CD, as a BMC's virtual media.
    Cd(PathBuf),
}

/// What its firmware speaks on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetBoot {
    /// PXE, then UEFI HTTP Boot, over IPv4.
    Any,
    /// UEFI HTTP Boot over IPv4 alone.
    Http,
    /// PXE, then UEFI HTTP Boot, over IPv6 alone.
    Ipv6,
}

impl NetBoot {
    /// What the firmware is told not to speak (`opt/org.tianocore/…`).
    pub(crate) fn mute(self) -> &'static [&'static str] {
        match self {
            Self::Any => &["IPv6PXESupport", "IPv6Support"],
            Self::Http => &["IPv6PXESupport", "IPv6Support", "IPv4PXESupport"],
            Self::Ipv6 => &["IPv4PXESupport", "IPv4Support"],
        }
    }
}

/// Which device the firmware tries first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootOrder {
    /// The disk, then the network: every ordinary boot.
    DiskFirst,
    /// The network, then the disk: armed through the BMC, for one boot.
    NetworkFirst,
}

/// Everything about an endpoint that does not change while it lives.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Its name, such as `press-01`.
    pub name: String,
    /// Its firmware.
    pub firmware: Firmware,
    /// How its disk is attached.
    pub bus: DiskBus,
    /// Serial numbers of more disks, blank and on SATA.
    pub more_disks: Vec<String>,
    /// Serial number of one more disk, blank, on NVMe and large enough for the golden image, that says of itself that it is not reliable any more.
    pub failing_disk: Option<String>,
    /// Keys that its firmware is delivered with; Secure Boot is on then.
    pub enrolled: Option<Enrolled>,
    /// What its firmware speaks on the network.
    pub netboot: NetBoot,
    /// What is in its USB socket when it is armed: then it starts from that, before network and disk.
    pub stick: Option<Stick>,
    /// Its network adapter.
    pub nic: Nic,
    /// Whether it has a graphics adapter, whose picture [`crate::screen`] reads.
    pub screen: bool,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Virtual processors.
    pub cpus: u8,
    /// Hardware address of the adapter.
    pub mac: [u8; 6],
    /// The number that every identity below is made from, 1 to 50; also selects the BMC's address.
    pub number: u8,
}

impl Spec {
    /// Endpoint `press-<number>`: plain OVMF, NVMe, virtio network, 1 GiB.
    #[must_use]
    pub fn press(number: u8) -> Self {
        Self {
            name: format!("press-{number:02}"),
            firmware: Firmware::Ovmf,
            bus: DiskBus::Nvme,
            more_disks: Vec::new(),
            failing_disk: None,
            enrolled: None,
            netboot: NetBoot::Any,
            stick: None,
            nic: Nic::Virtio,
            screen: false,
            memory_mib: 1024,
            cpus: 2,
            mac: [0x52, 0x54, 0x00, 0x77, 0x00, number],
            number,
        }
    }

    /// The adapter's address as text, lower case with colons.
    #[must_use]
    pub fn mac_text(&self) -> String {
        self.mac.map(|byte| format!("{byte:02x}")).join(":")
    }

    /// The address that its restored system gets from its record, outside of the appliance's pool.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 149 + self.number)
    }

    /// The serial number on the board's label.
    #[must_use]
    pub fn serial(&self) -> String {
        format!("GS-{}-{:04}", self.name.to_uppercase(), self.number)
    }

    /// The serial number of its disk.
    #[must_use]
    pub fn disk_serial(&self) -> String {
        format!("GSDISK{:04}", self.number)
    }

    /// The board's SMBIOS UUID.
    #[must_use]
    pub fn uuid(&self) -> String {
        format!("6b1c9a52-e000-4000-8000-5254007700{:02x}", self.number)
    }
}

/// The files and the socket that one QEMU process is given.
#[derive(Debug, Clone)]
pub struct Wiring {
    /// The raw disk image.
    pub disk: PathBuf,
    /// The UEFI variable store, unless the firmware is SeaBIOS.
    pub vars: PathBuf,
    /// Where swtpm listens.
    pub tpm: PathBuf,
    /// Where the lab listens for the monitor.
    pub monitor: PathBuf,
    /// The tap of the plant's bridge.
    pub tap: String,
}

impl Wiring {
    /// The files of the further disks, in order.
    pub fn more_disks(&self, spec: &Spec) -> impl Iterator<Item = PathBuf> {
        let failing = spec.failing_disk.as_ref().map(|_| self.failing_disk());
        (1..=spec.more_disks.len())
            .map(|at| self.disk.with_file_name(format!("disk-{at}.raw")))
            .chain(failing)
    }

    /// The file of the disk that says that it is failing.
    #[must_use]
    pub fn failing_disk(&self) -> PathBuf {
        self.disk.with_file_name("disk-failing.raw")
    }
}

/// QEMU's arguments for this board. The serial line is standard output; the process connects to `wiring.monitor`.
#[must_use]
pub fn arguments(spec: &Spec, wiring: &Wiring, order: BootOrder) -> Vec<OsString> {
    let secure = spec.firmware == Firmware::OvmfSecureBoot;
    let mut words = Words(Vec::new());
    words.pair("-name", &spec.name);
    // Without graphics SeaBIOS puts its text screen, and that of its boot ROMs, on the serial line.
    words.pair("-machine", format!("q35,graphics=off,smm={}", if secure { "on" } else { "off" }));
    words.pair("-accel", "tcg,thread=multi");
    words.pair("-cpu", "max");
    words.pair("-m", spec.memory_mib.to_string());
    words.pair("-smp", spec.cpus.to_string());
    words.flag("-nodefaults");
    words.pair("-display", "none");
    if spec.screen {
        words.pair("-device", "VGA");
    }
    words.pair("-action", "reboot=shutdown");
    words.pair("-boot", "menu=off");
    words.pair(
        "-smbios",
        format!(
            "type=1,manufacturer=Groundstate,product=Lab HMI panel,serial={},uuid={}",
            spec.serial(),
            spec.uuid()
        ),
    );
    words.pair("-chardev", "stdio,id=serial,signal=off");
    words.pair("-serial", "chardev:serial");
    words.pair("-chardev", format!("socket,id=monitor,path={}", wiring.monitor.display()));
    words.pair("-mon", "chardev=monitor,mode=control");
    words.pair("-device", "virtio-rng-pci");
    firmware(&mut words, spec, wiring);
    words.pair("-chardev", format!("socket,id=tpm,path={}", wiring.tpm.display()));
    words.pair("-tpmdev", "emulator,id=tpm0,chardev=tpm");
    words.pair("-device", "tpm-tis,tpmdev=tpm0");
    disk(&mut words, spec, wiring, order);
    network(&mut words, spec, wiring, order);
    if let (Some(stick), BootOrder::NetworkFirst) = (&spec.stick, order) {
        let (file, kind) = match stick {
            Stick::Usb(file) => (file, "disk"),
            Stick::Cd(file) => (file, "cdrom"),
        };
        words.pair("-device", "qemu-xhci,id=usb");
        let drive = format!("if=none,id=stick,format=raw,readonly=on,media={kind},file={}", file.display());
        words.pair("-drive", drive);
        words.pair("-device", "usb-storage,bus=usb.0,drive=stick,removable=off,serial=GSSTICK,bootindex=0");
    }
    words.0
}

fn firmware(words: &mut Words, spec: &Spec, wiring: &Wiring) {
    let Some((code, _)) = spec.firmware.flash() else { return };
    if spec.firmware == Firmware::OvmfSecureBoot {
        // Without this the guest could rewrite the variable store around the firmware.
        words.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
    words.pair("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={}", code.display()));
    words.pair("-drive", format!("if=pflash,unit=1,format=raw,file={}", wiring.vars.display()));
    // What it does not speak would only cost minutes of waiting.
    for protocol in spec.netboot.mute() {
        words.pair("-fw_cfg", format!("name=opt/org.tianocore/{protocol},string=n"));
    }
}

fn disk(words: &mut Words, spec: &Spec, wiring: &Wiring, order: BootOrder) {
    let index = if order == BootOrder::DiskFirst { 1 } else { 2 };
    let serial = spec.disk_serial();
    // What the endpoint discards or formats is gone, as on flash. A power cut is a killed QEMU process; the page cache of the computer that runs the lab survives it.
    words.pair(
        "-drive",
        format!("if=none,id=disk,format=raw,cache=unsafe,discard=unmap,file={}", wiring.disk.display()),
    );
    match spec.bus {
        DiskBus::Nvme => {
            // Not an `nvme-ns` of its own: OVMF does not find a boot index there, and boots the disk whatever the order says.
            words.pair("-device", format!("nvme,drive=disk,bootindex={index},serial={serial}"));
        }
        DiskBus::Sata => {
            words.pair("-device", format!("ide-hd,drive=disk,bus=ide.0,bootindex={index},serial={serial}"));
        }
        DiskBus::Virtio => {
            words.pair("-device", format!("virtio-blk-pci,drive=disk,bootindex={index},serial={serial}"));
        }
    }
    // Port 0 is the first disk's, where that is on SATA.
    for (at, (serial, file)) in (1..).zip(spec.more_disks.iter().zip(wiring.more_disks(spec))) {
        let drive = format!("if=none,id=disk{at},format=raw,cache=unsafe,file={}", file.display());
        words.pair("-drive", drive);
        words.pair("-device", format!("ide-hd,drive=disk{at},bus=ide.{at},serial={serial}"));
    }
    if let Some(serial) = &spec.failing_disk {
        let file = wiring.failing_disk();
        words.pair("-drive", format!("if=none,id=failing,format=raw,cache=unsafe,file={}", file.display()));
        // Bit 2 of the critical warnings (NVM Express base specification 2.0, figure 207).
        words.pair("-device", format!("nvme,drive=failing,serial={serial},smart_critical_warning=4"));
    }
}

fn network(words: &mut Words, spec: &Spec, wiring: &Wiring, order: BootOrder) {
    let index = if order == BootOrder::NetworkFirst { 1 } else { 2 };
    words.pair("-netdev", format!("tap,id=lan,ifname={},script=no,downscript=no", wiring.tap));
    let uefi = spec.firmware.flash().is_some();
    let driver = match (spec.nic, uefi) {
        // OVMF's own driver; the option ROM would put iPXE in its place.
        (Nic::Virtio, true) => "virtio-net-pci,romfile=",
        (Nic::Virtio, false) => "virtio-net-pci",
        (Nic::E1000e, _) => "e1000e",
    };
    words.pair("-device", format!("{driver},netdev=lan,mac={},bootindex={index}", spec.mac_text()));
}

struct Words(Vec<OsString>);

impl Words {
    fn flag(&mut self, word: &str) {
        self.0.push(word.into());
    }

    fn pair(&mut self, option: &str, value: impl AsRef<std::ffi::OsStr>) {
        self.0.push(option.into());
        self.0.push(value.as_ref().to_owned());
    }
}

/// Why a QEMU process came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The guest asked for a reset.
    Reset,
    /// The guest switched itself off.
    GuestOff,
    /// The lab ended it, or it died.
    Cut,
}

/// The monitor of one running QEMU process.
#[derive(Debug)]
pub struct Monitor {
    lines: BufReader<UnixStream>,
    answers: SyncSender<Value>,
}

/// Answers that nobody has taken yet, at most.
const ANSWERS: usize = 16;

impl Monitor {
    /// Greets the monitor on a connection that QEMU has made; with a second handle, for giving commands while another thread waits in
    /// [`Monitor::wait_end`].
    ///
    /// # Errors
    /// When the other end is not QEMU's monitor.
    pub fn greet(stream: UnixStream) -> Result<(Self, Remote)> {
        let (answers, answered) = sync_channel(ANSWERS);
        let mut remote = Remote { commands: stream.try_clone()?, answered, number: 0 };
        let mut monitor = Self { lines: BufReader::new(stream), answers };
        let greeting = monitor.next()?.context("QEMU closed its monitor")?;
        if greeting.get("QMP").is_none() {
            bail!("no greeting from QEMU's monitor but {greeting}");
        }
        remote.tell("qmp_capabilities", &json!({}))?;
        Ok((monitor, remote))
    }

    /// Reads until QEMU goes away and tells why it went.
    pub fn wait_end(&mut self) -> End {
        let mut end = End::Cut;
        while let Ok(Some(message)) = self.next() {
            if message.get("id").is_some() {
                // Where nobody waits for it, it may be lost.
                let _ = self.answers.try_send(message);
                continue;
            }
            if message["event"] == "SHUTDOWN" {
                end = match message["data"]["reason"].as_str() {
                    Some("guest-reset") => End::Reset,
                    Some("guest-shutdown") => End::GuestOff,
                    _ => End::Cut,
                };
            }
        }
        end
    }

    fn next(&mut self) -> Result<Option<Value>> {
        let mut line = String::new();
        if self.lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line)?))
    }
}

/// The commanding end of a [`Monitor`].
#[derive(Debug)]
pub struct Remote {
    commands: UnixStream,
    answered: Receiver<Value>,
    number: u32,
}

impl Remote {
    /// Gives a command and does not wait for its answer; gives the number that this will have.
    fn tell(&mut self, command: &str, arguments: &Value) -> Result<u32> {
        self.number += 1;
        let mut line = json!({ "execute": command, "arguments": arguments, "id": self.number }).to_string();
        line.push('\n');
        let told = self.commands.write_all(line.as_bytes());
        told.with_context(|| format!("QEMU is gone, cannot tell it {command}"))?;
        Ok(self.number)
    }

    /// Has a picture of the board's screen written, as PPM.
    ///
    /// # Errors
    /// When QEMU is gone, cannot do it, or does not answer within `limit`.
    pub fn picture(&mut self, path: &Path, limit: Duration) -> Result<()> {
        let number = self.tell("screendump", &json!({ "filename": path }))?;
        loop {
            let answer = self.answered.recv_timeout(limit).context("QEMU does not answer")?;
            if answer["id"] != number {
                continue;
            }
            return match answer.get("error") {
                Some(error) => bail!("QEMU gives no picture: {error}"),
                None => Ok(()),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(spec: &Spec, order: BootOrder) -> String {
        let wiring = Wiring {
            disk: "/lab/disk".into(),
            vars: "/lab/vars".into(),
            tpm: "/lab/tpm".into(),
            monitor: "/lab/monitor".into(),
            tap: "tap0".into(),
        };
        let words = arguments(spec, &wiring, order);
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_an_armed_boot_tries_the_network_first() {
        let spec = Spec::press(1);
        let plain = line(&spec, BootOrder::DiskFirst);
        assert!(plain.contains("nvme,drive=disk,bootindex=1"), "{plain}");
        assert!(plain.contains("mac=52:54:00:77:00:01,bootindex=2"), "{plain}");
        let armed = line(&spec, BootOrder::NetworkFirst);
        assert!(armed.contains("nvme,drive=disk,bootindex=2"), "{armed}");
        assert!(armed.contains("mac=52:54:00:77:00:01,bootindex=1"), "{armed}");
    }

    #[test]
    fn secure_boot_uses_the_enrolled_keys_and_locks_the_flash() {
        let spec = Spec { firmware: Firmware::OvmfSecureBoot, ..Spec::press(1) };
        let line = line(&spec, BootOrder::DiskFirst);
        assert!(line.contains("smm=on") && line.contains("property=secure,value=on"), "{line}");
        assert!(spec.firmware.flash().unwrap().1.ends_with("OVMF_VARS_4M.ms.fd"));
    }

    #[test]
    fn a_stick_is_in_its_socket_when_it_is_armed() {
        let spec = Spec { stick: Some(Stick::Cd("/lab/stick".into())), ..Spec::press(1) };
        assert!(!line(&spec, BootOrder::DiskFirst).contains("stick"));
        let armed = line(&spec, BootOrder::NetworkFirst);
        assert!(armed.contains("media=cdrom") && armed.contains("drive=stick,removable=off"), "{armed}");
    }

    #[test]
    fn twins_have_one_serial_number_and_files_of_their_own() {
        let spec = Spec { more_disks: vec!["TWIN".to_owned(), "TWIN".to_owned()], ..Spec::press(1) };
        let line = line(&spec, BootOrder::DiskFirst);
        assert_eq!(line.matches("serial=TWIN").count(), 2, "{line}");
        assert!(line.contains("file=/lab/disk-1.raw") && line.contains("file=/lab/disk-2.raw"), "{line}");
    }

    #[test]
    fn a_failing_disk_is_one_more_that_says_so() {
        let spec = Spec { failing_disk: Some("DYING".to_owned()), ..Spec::press(1) };
        let line = line(&spec, BootOrder::DiskFirst);
        assert!(line.contains("serial=DYING,smart_critical_warning=4"), "{line}");
        assert_eq!(line.matches("smart_critical_warning").count(), 1, "{line}");
    }

    #[test]
    fn bios_keeps_its_network_boot_rom() {
        let spec = Spec { firmware: Firmware::SeaBios, ..Spec::press(1) };
        let line = line(&spec, BootOrder::DiskFirst);
        assert!(!line.contains("pflash") && !line.contains("romfile="), "{line}");
    }

    #[test]
    fn endpoints_differ_in_every_identity() {
        let (one, two) = (Spec::press(1), Spec::press(2));
        assert_ne!(one.mac_text(), two.mac_text());
        assert_ne!(one.uuid(), two.uuid());
        assert_ne!(one.serial(), two.serial());
        assert_ne!(one.disk_serial(), two.disk_serial());
        assert_eq!(one.uuid().len(), 36);
    }
}

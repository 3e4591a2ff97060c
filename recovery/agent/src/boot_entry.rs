//! The firmware's boot entry for the restored disk: set, and read back.
//!
//! Firmware that looks for `\EFI\BOOT` only on removable media finds nothing on a disk that was replaced; an entry of the disk before
//! points to a partition that is gone. The entry goes before the first that boots from a fixed disk; where there is none, behind all that
//! boot from the network and the one that booted us. So the site's choice of network first or disk first stays, and the endpoint can be
//! recovered again.
//!
//! Sources: UEFI specification 2.10, sections 3.1.3 (load options), 3.3 (BootOrder, Boot####), 10.3.5.1 and 10.3.5.4 (device paths);
//! Linux `Documentation/filesystems/efivarfs.rst`: a variable is its attributes and its value, written in one go.
//!
//! It must never write when the right entry is there (the memory of firmware wears out), touch an entry that is not ours, or take the
//! network out of the order.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use images::Header;
use images::disk::ESP_TYPE;
use images::manifest::header::Scheme;

/// What our entries are called in the firmware's menu.
const LABEL: &str = "Groundstate golden system";
/// EFI_GLOBAL_VARIABLE.
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Non-volatile, visible at boot and at run time.
const ATTRIBUTES: [u8; 4] = [7, 0, 0, 0];
const LOAD_OPTION_ACTIVE: u32 = 1;
/// Number of the entry that is booted once, at the next start.
const NEXT: &str = "BootNext";
const END: [u8; 4] = [0x7f, 0xff, 4, 0];

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The entry was there already.
    Kept,
    /// It was set, and reads back.
    Set,
}

/// Where the firmware is to find the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// The device path of the file, as in an entry.
    path: Vec<u8>,
}

impl Loader {
    /// Of an image on a disk with a GPT; `None` where it has none, or no loader.
    pub fn of(header: &Header) -> Option<Self> {
        if !header.boot.uefi || header.boot.loader.is_empty() || header.table.scheme != Scheme::Gpt {
            return None;
        }
        let esp = header.table.partitions.iter().find(|partition| partition.type_guid == ESP_TYPE)?;
        let mut path = vec![4, 1, 42, 0];
        path.extend((esp.index + 1).to_le_bytes());
        path.extend(esp.first_lba.to_le_bytes());
        path.extend((esp.last_lba - esp.first_lba + 1).to_le_bytes());
        path.extend(esp.unique_guid);
        // GPT, told by its GUID.
        path.extend([2, 2]);
        let name = utf16(&header.boot.loader);
        path.extend([4, 4]);
        path.extend(u16::try_from(4 + name.len()).ok()?.to_le_bytes());
        path.extend(name);
        path.extend(END);
        Some(Self { path })
    }

    fn option(&self) -> Vec<u8> {
        let mut option = LOAD_OPTION_ACTIVE.to_le_bytes().to_vec();
        option.extend((self.path.len() as u16).to_le_bytes());
        option.extend(utf16(LABEL));
        option.extend(&self.path);
        option
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// An entry of the firmware, as far as it can be read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Entry {
    active: bool,
    label: String,
    path: Vec<u8>,
}

impl Entry {
    fn parse(option: &[u8]) -> Option<Self> {
        let active = u32::from_le_bytes(*option.first_chunk()?) & LOAD_OPTION_ACTIVE != 0;
        let path_len = usize::from(u16::from_le_bytes(*option.get(4..)?.first_chunk()?));
        let (units, _) = option.get(6..)?.as_chunks::<2>();
        let end = units.iter().position(|unit| *unit == [0, 0])?;
        let text: Vec<u16> = units[..end].iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        let at = 6 + 2 * (end + 1);
        let path = option.get(at..at + path_len)?.to_vec();
        Some(Self { active, label: String::from_utf16_lossy(&text), path })
    }

    /// Whether one of its nodes is of a network (section 10.3.4: MAC, IPv4, IPv6, URI).
    fn is_network(&self) -> bool {
        self.nodes().any(|node| matches!(node, (3, 11 | 12 | 13 | 24)))
    }

    /// Whether it leads to a disk that is not on USB (section 10.3.4: ATAPI, SCSI, SATA, NVMe, SAS, UFS, SD, eMMC; 10.3.5.1: a partition;
    /// section 10.3.6: a hard disk of the BIOS).
    fn is_fixed_disk(&self) -> bool {
        let disk = |node| matches!(node, (3, 1 | 2 | 18 | 22 | 23 | 25 | 26 | 29) | (4, 1));
        !self.nodes().any(|node| matches!(node, (3, 5 | 15 | 16))) && self.nodes().any(disk)
            || self.is_bios_disk()
    }

    fn is_bios_disk(&self) -> bool {
        matches!(self.path[..], [5, 1, _, _, 2, 0, ..])
    }

    /// Type and sub-type of each node.
    fn nodes(&self) -> impl Iterator<Item = (u8, u8)> + '_ {
        let mut rest = &self.path[..];
        std::iter::from_fn(move || {
            let [kind, sub, low, high, ..] = rest else { return None };
            let node = (*kind, *sub);
            let len = usize::from(u16::from_le_bytes([*low, *high])).max(4);
            rest = rest.get(len..).unwrap_or_default();
            Some(node)
        })
    }
}

/// The firmware's variables.
struct Variables<'d>(&'d Path);

impl Variables<'_> {
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.0.join(format!("{name}-{GLOBAL}"))) {
            Ok(bytes) => Ok(bytes.get(4..).map(<[u8]>::to_vec)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Write, and look whether it is there.
    fn write(&self, name: &str, value: &[u8]) -> io::Result<()> {
        std::fs::write(self.0.join(format!("{name}-{GLOBAL}")), [&ATTRIBUTES, value].concat())?;
        match self.read(name)?.as_deref() == Some(value) {
            true => Ok(()),
            false => Err(io::Error::other(format!("the firmware does not keep {name}"))),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(format!("{name}-{GLOBAL}")))
    }

    fn entries(&self) -> io::Result<BTreeMap<u16, Entry>> {
        let mut entries = BTreeMap::new();
        for file in std::fs::read_dir(self.0)? {
            let file = file?.file_name();
            let number = file.to_str().and_then(|name| {
                let digits = name.strip_prefix("Boot")?.strip_suffix(GLOBAL)?.strip_suffix('-')?;
                (digits.len() == 4).then(|| u16::from_str_radix(digits, 16).ok())?
            });
            if let Some(number) = number {
                let option = self.read(&name_of(number))?.unwrap_or_default();
                entries.insert(number, Entry::parse(&option).unwrap_or_default());
            }
        }
        Ok(entries)
    }
}

fn name_of(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// See to it that the firmware has an active entry for this loader in its order, and none of ours for another.
///
/// # Errors
/// What the system or the firmware refused; the order is then as it was, or has the entry.
pub fn ensure(efivars: &Path, loader: &Loader) -> io::Result<Done> {
    let variables = Variables(efivars);
    let entries = variables.entries()?;
    let order: Vec<u16> = {
        let bytes = variables.read("BootOrder")?.unwrap_or_default();
        bytes.as_chunks::<2>().0.iter().map(|number| u16::from_le_bytes(*number)).collect()
    };
    if order.is_empty() {
        // It would be ours alone: firmware that makes its order anew at each start has the network in none.
        return Err(io::Error::other("the firmware keeps no boot order"));
    }
    let right =
        |number: &u16| entries.get(number).is_some_and(|entry| entry.active && entry.path == loader.path);
    let stale: Vec<u16> = entries
        .iter()
        .filter(|(_, entry)| entry.label == LABEL && entry.path != loader.path)
        .map(|(number, _)| *number)
        .collect();
    if stale.is_empty() && order.iter().any(right) {
        return Ok(Done::Kept);
    }
    let mut next: Vec<u16> = order.iter().copied().filter(|number| !stale.contains(number)).collect();
    if !next.iter().any(right) {
        let number = match entries.keys().find(|number| right(number)) {
            Some(number) => *number,
            None => {
                let free = (0..=u16::MAX).find(|number| !entries.contains_key(number));
                let number =
                    free.ok_or_else(|| io::Error::other("the firmware has no room for another entry"))?;
                variables.write(&name_of(number), &loader.option())?;
                number
            }
        };
        let current =
            variables.read("BootCurrent")?.and_then(|bytes| Some(u16::from_le_bytes(*bytes.first_chunk()?)));
        let is = |number: &u16, what: fn(&Entry) -> bool| entries.get(number).is_some_and(what);
        let network = |number: &u16| is(number, Entry::is_network) || Some(*number) == current;
        let behind_network = next.iter().rposition(network).map_or(0, |at| at + 1);
        let disk = next.iter().position(|number| is(number, Entry::is_fixed_disk) && !network(number));
        next.insert(disk.unwrap_or(behind_network), number);
    }
    if next != order {
        let bytes: Vec<u8> = next.iter().flat_map(|number| number.to_le_bytes()).collect();
        variables.write("BootOrder", &bytes)?;
    }
    stale.iter().try_for_each(|number| variables.remove(&name_of(*number)))?;
    Ok(Done::Set)
}

/// Have the firmware boot from the network at the next start, once, and look whether it keeps that. The first active entry of a network in
/// its order is taken; the order stays as it is.
///
/// # Errors
/// What the system or the firmware refused, or that it knows no network; nothing is set then.
pub fn network_next(efivars: &Path) -> io::Result<u16> {
    let variables = Variables(efivars);
    let entries = variables.entries()?;
    let order = variables.read("BootOrder")?.unwrap_or_default();
    let order = order.as_chunks::<2>().0.iter().map(|number| u16::from_le_bytes(*number));
    let is_network =
        |number: &u16| entries.get(number).is_some_and(|entry| entry.active && entry.is_network());
    let found = order.into_iter().chain(entries.keys().copied()).find(is_network);
    let number =
        found.ok_or_else(|| io::Error::other("the firmware has no entry that boots from the network"))?;
    if let Err(error) = variables.write(NEXT, &number.to_le_bytes()) {
        let _ = variables.remove(NEXT);
        return Err(error);
    }
    Ok(number)
}

/// Take that back, where it was not used. Nothing to do is success.
///
/// # Errors
/// What the system refused.
pub fn forget_next(efivars: &Path) -> io::Result<()> {
    match Variables(efivars).remove(NEXT) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What OVMF 2022.11 sets for a network card, shortened: PCI root, MAC, IPv4, end.
    fn network() -> Vec<u8> {
        let mut path = vec![2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0];
        path.extend([3, 11, 37, 0]);
        path.extend([0; 33]);
        path.extend([3, 12, 27, 0]);
        path.extend([0; 23]);
        path.extend(END);
        path
    }

    fn disk(byte: u8) -> Loader {
        let mut path = vec![4, 1, 42, 0];
        path.extend([byte; 38]);
        path.extend(END);
        Loader { path }
    }

    fn option(label: &str, path: &[u8]) -> Vec<u8> {
        let mut option = vec![1, 0, 0, 0];
        option.extend((path.len() as u16).to_le_bytes());
        option.extend(utf16(label));
        option.extend(path);
        option.extend(b"optional data");
        option
    }

    struct Firmware(tempfile::TempDir);

    impl Firmware {
        /// These entries, all in the order.
        fn new(entries: &[(u16, Vec<u8>)]) -> Self {
            let firmware = Self(tempfile::tempdir().unwrap());
            for (number, option) in entries {
                firmware.variables().write(&name_of(*number), option).unwrap();
            }
            let order: Vec<u8> = entries.iter().flat_map(|(number, _)| number.to_le_bytes()).collect();
            firmware.variables().write("BootOrder", &order).unwrap();
            std::fs::write(firmware.0.path().join(format!("BootCurrent-{GLOBAL}")), [6, 0, 0, 0, 5, 0])
                .unwrap();
            std::fs::write(firmware.0.path().join("Boot0009-other-vendor"), b"junk").unwrap();
            firmware
        }

        fn variables(&self) -> Variables<'_> {
            Variables(self.0.path())
        }

        fn order(&self) -> Vec<u16> {
            let bytes = self.variables().read("BootOrder").unwrap().unwrap();
            bytes.as_chunks::<2>().0.iter().map(|number| u16::from_le_bytes(*number)).collect()
        }
    }

    #[test]
    fn the_next_boot_goes_to_the_first_network_of_the_order_and_can_be_taken_back() {
        let mut off = option("PXE, off", &network());
        off[0] = 0;
        let firmware = Firmware::new(&[
            (1, option("disk", &disk(9).path)),
            (7, off),
            (4, option("PXE", &network())),
            (2, option("HTTP", &network())),
        ]);
        assert_eq!(network_next(firmware.0.path()).unwrap(), 4);
        assert_eq!(firmware.variables().read("BootNext").unwrap().unwrap(), [4, 0]);
        assert_eq!(firmware.order(), [1, 7, 4, 2], "the order stays");
        forget_next(firmware.0.path()).unwrap();
        assert_eq!(firmware.variables().read("BootNext").unwrap(), None);
        forget_next(firmware.0.path()).unwrap();
    }

    #[test]
    fn a_firmware_without_a_network_is_told_nothing() {
        let firmware = Firmware::new(&[(1, option("disk", &disk(9).path)), (0, vec![1, 2])]);
        assert!(network_next(firmware.0.path()).unwrap_err().to_string().contains("no entry"));
        assert_eq!(firmware.variables().read("BootNext").unwrap(), None);
        assert!(network_next(&firmware.0.path().join("none")).is_err(), "no UEFI");
    }

    #[test]
    fn the_entry_goes_before_the_first_disk_and_is_set_once() {
        let firmware = Firmware::new(&[
            (3, option("PXE", &network())),
            (1, option("disk", &disk(9).path)),
            (0, vec![1, 2]),
        ]);
        assert_eq!(ensure(firmware.0.path(), &disk(1)).unwrap(), Done::Set);
        assert_eq!(firmware.order(), [3, 2, 1, 0]);
        let entry = Entry::parse(&firmware.variables().read("Boot0002").unwrap().unwrap()).unwrap();
        assert_eq!(entry, Entry { active: true, label: LABEL.into(), path: disk(1).path });
        let written = || {
            std::fs::metadata(firmware.0.path().join(format!("BootOrder-{GLOBAL}")))
                .unwrap()
                .modified()
                .unwrap()
        };
        let before = written();
        assert_eq!(ensure(firmware.0.path(), &disk(1)).unwrap(), Done::Kept);
        assert_eq!(written(), before, "nothing is written twice");
    }

    #[test]
    fn a_site_that_boots_its_disk_first_keeps_doing_so_and_an_entry_of_another_disk_goes() {
        let firmware = Firmware::new(&[
            (0, option(LABEL, &disk(8).path)),
            (1, option("Windows Boot Manager", &disk(7).path)),
            (2, option("PXE", &network())),
        ]);
        assert_eq!(ensure(firmware.0.path(), &disk(1)).unwrap(), Done::Set);
        assert_eq!(firmware.order(), [3, 1, 2]);
        assert!(firmware.variables().read("Boot0000").unwrap().is_none(), "ours, of another disk");
        assert!(firmware.variables().read("Boot0001").unwrap().is_some(), "not ours");
    }

    #[test]
    fn an_entry_that_is_there_but_not_in_the_order_is_used() {
        let firmware = Firmware::new(&[(5, option("PXE", &network()))]);
        firmware.variables().write("Boot0004", &option("debian", &disk(1).path)).unwrap();
        assert_eq!(ensure(firmware.0.path(), &disk(1)).unwrap(), Done::Set);
        assert_eq!(firmware.order(), [5, 4]);
    }

    /// The order of OVMF, of firmware with a stick before the network, and of one whose network entry is in words of its own.
    #[test]
    fn the_network_stays_before_the_disk_wherever_it_stands() {
        let setup = option("UiApp", &[[4, 7, 20, 0].as_slice(), &[9; 16], &END].concat());
        let shell = option("EFI Internal Shell", &[[4, 7, 20, 0].as_slice(), &[8; 16], &END].concat());
        let stick = option("USB", &[[3, 5, 6, 0, 1, 0].as_slice(), &disk(3).path].concat());
        let sata =
            option("UEFI HARDDISK", &[[3, 18, 10, 0, 0, 0, 0xff, 0xff, 0, 0].as_slice(), &END].concat());
        let pxe = || option("PXE", &network());
        let own_words = option("PCI LAN", &[[3, 10, 20, 0].as_slice(), &[7; 16], &END].concat());
        for (entries, order) in [
            (
                vec![(0, setup.clone()), (2, pxe()), (3, sata.clone()), (4, shell.clone())],
                vec![0, 2, 1, 3, 4],
            ),
            (vec![(0, setup.clone()), (2, pxe()), (4, shell.clone())], vec![0, 2, 1, 4]),
            (vec![(0, stick), (2, pxe()), (3, sata.clone())], vec![0, 2, 1, 3]),
            // BootCurrent is 5: the agent came by it.
            (vec![(0, setup), (5, own_words), (4, shell)], vec![0, 5, 1, 4]),
            (vec![(3, sata), (2, pxe())], vec![0, 3, 2]),
        ] {
            let firmware = Firmware::new(&entries);
            assert_eq!(ensure(firmware.0.path(), &disk(1)).unwrap(), Done::Set);
            assert_eq!(firmware.order(), order);
        }
    }

    #[test]
    fn firmware_without_an_order_is_left_alone_and_one_that_refuses_is_an_error() {
        let firmware = Firmware(tempfile::tempdir().unwrap());
        firmware.variables().write("Boot0001", &option("PXE", &network())).unwrap();
        assert!(ensure(firmware.0.path(), &disk(1)).unwrap_err().to_string().contains("no boot order"));
        assert!(!firmware.0.path().join(format!("Boot0000-{GLOBAL}")).exists());
        assert!(ensure(Path::new("/no/such/place"), &disk(1)).is_err());
    }

    #[test]
    fn odd_options_are_read_to_their_end_and_no_further() {
        for len in 0..40 {
            let whole = option("x", &network());
            let _ = Entry::parse(&whole[..len.min(whole.len())]);
        }
        let path = vec![3, 1, 0, 0, 3, 11];
        assert!(!Entry { path, ..Entry::default() }.is_network(), "a node that says it has no length");
    }
}

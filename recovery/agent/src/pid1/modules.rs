//! Kernel modules, loaded by what the hardware calls itself.
//!
//! The kernel prints a *modalias* for each device under `/sys/devices`; `modules.alias` maps globs of modaliases to
//! modules; `modules.dep` lists what each module needs. Both files are written by the boot kit's builder in the form of
//! depmod(8). [`Modules`] is the pure part (text in, load order out); [`Loader`] walks sysfs and loads.
//!
//! It must never: pass parameters to a module, or load one that is not in the recovery system.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

/// What the two index files say.
#[derive(Debug, Default)]
pub struct Modules {
    /// Module name (with `_`) → path below the modules directory.
    paths: BTreeMap<String, String>,
    /// Module name → names it needs, nearest first, as depmod(8) lists them.
    needs: BTreeMap<String, Vec<String>>,
    /// Glob → module name, in file order.
    aliases: Vec<(String, String)>,
}

/// The name the kernel uses: file name without `.ko`, `-` as `_`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

impl Modules {
    /// Reads the texts of `modules.dep` and `modules.alias` (depmod(8)); lines of another form are passed over.
    pub fn parse(dep: &str, alias: &str) -> Self {
        let mut modules = Self::default();
        for (path, needs) in dep.lines().filter_map(|line| line.split_once(':')) {
            let name = module_name(path);
            modules.needs.insert(name.clone(), needs.split_whitespace().map(module_name).collect());
            modules.paths.insert(name, path.trim().to_owned());
        }
        for line in alias.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(glob), Some(module)) = (words.next(), words.next(), words.next()) {
                modules.aliases.push((glob.to_owned(), module.replace('-', "_")));
            }
        }
        modules
    }

    /// Names of the modules whose alias fits `modalias`.
    pub fn matching(&self, modalias: &str) -> Vec<&str> {
        let fits = self.aliases.iter().filter(|(glob, _)| glob_matches(glob, modalias));
        fits.map(|(_, module)| module.as_str()).collect()
    }

    /// What to load for `name`, dependencies first, each once; empty when the module is not known.
    pub fn load_order(&self, name: &str) -> Vec<&str> {
        let mut order = Vec::new();
        self.visit(name, &mut BTreeSet::new(), &mut order);
        order
    }

    fn visit<'a>(&'a self, name: &str, seen: &mut BTreeSet<&'a str>, order: &mut Vec<&'a str>) {
        let Some((name, needs)) = self.needs.get_key_value(name) else { return };
        if !seen.insert(name) {
            return;
        }
        for need in needs.iter().rev() {
            self.visit(need, seen, order);
        }
        order.push(name);
    }
}

/// Matches a whole text against a glob of `*`, `?` and `[a-z]`, as modules.alias uses them (fnmatch(3) without escapes).
fn glob_matches(glob: &str, text: &str) -> bool {
    let (glob, text) = (glob.as_bytes(), text.as_bytes());
    let (mut g, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match glob.get(g) {
            Some(b'*') => {
                retry = Some((g, t));
                g += 1;
                continue;
            }
            Some(_) if t < text.len() => one_matches(&glob[g..], text[t]),
            None if t == text.len() => return true,
            _ => None,
        };
        match (step, retry) {
            (Some(width), _) => {
                g += width;
                t += 1;
            }
            (None, Some((star, from))) if from < text.len() => {
                retry = Some((star, from + 1));
                g = star + 1;
                t = from + 1;
            }
            (None, _) => return false,
        }
    }
}

/// The width of the first element of `glob` when it matches `byte`.
fn one_matches(glob: &[u8], byte: u8) -> Option<usize> {
    match glob.first()? {
        b'?' => Some(1),
        b'[' => {
            let end = 2 + glob.get(2..)?.iter().position(|&b| b == b']')?;
            let mut set = &glob[1..end];
            while let Some((&low, rest)) = set.split_first() {
                let (high, rest) = match rest {
                    [b'-', high, rest @ ..] => (*high, rest),
                    _ => (low, rest),
                };
                if (low..=high).contains(&byte) {
                    return Some(end + 1);
                }
                set = rest;
            }
            None
        }
        &literal => (literal == byte).then_some(1),
    }
}

/// Loads what the present devices ask for; call [`Loader::settle`] again when more may have appeared.
#[derive(Debug)]
pub struct Loader {
    modules: Modules,
    base: PathBuf,
    seen: BTreeSet<String>,
    loaded: BTreeSet<String>,
}

impl Loader {
    /// Reads the index files below `base`, e.g. `/lib/modules/6.1.0-56-amd64`.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn open(base: &Path) -> std::io::Result<Self> {
        let dep = fs::read_to_string(base.join("modules.dep"))?;
        let alias = fs::read_to_string(base.join("modules.alias"))?;
        let modules = Modules::parse(&dep, &alias);
        Ok(Self { modules, base: base.to_owned(), seen: BTreeSet::new(), loaded: BTreeSet::new() })
    }

    /// Loads a driver for each device under `/sys/devices` that was not seen before, and for those that appear by it; the
    /// network first, since it waits longest for others. Says each driver; returns whether any device was new.
    pub fn settle(&mut self, mut say: impl FnMut(String)) -> bool {
        let mut any = false;
        loop {
            let mut fresh = BTreeSet::new();
            collect_modaliases(Path::new("/sys/devices"), 0, &mut fresh);
            fresh.retain(|alias| !self.seen.contains(alias));
            let Some(urgent) = fresh.iter().map(|alias| urgency(alias)).min() else { return any };
            any = true;
            for alias in fresh.into_iter().filter(|alias| urgency(alias) == urgent) {
                let names: Vec<String> =
                    self.modules.matching(&alias).into_iter().map(str::to_owned).collect();
                names.iter().flat_map(|name| self.load(name)).for_each(&mut say);
                self.seen.insert(alias);
            }
        }
    }

    /// Loads one module and what it needs. Returns one line for each that was loaded or refused.
    pub fn load(&mut self, name: &str) -> Vec<String> {
        let order: Vec<String> = self.modules.load_order(name).into_iter().map(str::to_owned).collect();
        let fresh = order.into_iter().filter(|name| self.loaded.insert(name.clone()));
        fresh.collect::<Vec<_>>().iter().filter_map(|name| self.insert(name)).collect()
    }

    fn insert(&self, name: &str) -> Option<String> {
        let path = self.base.join(self.modules.paths.get(name)?);
        let done = File::open(&path)
            .map_err(|e| e.to_string())
            .and_then(|file| insert_module(&file).map_err(|e| e.desc().to_owned()));
        Some(match done {
            Ok(()) => format!("driver {name} loaded"),
            Err(why) => format!("driver {name} not loaded: {why}"),
        })
    }
}

fn insert_module(file: &File) -> Result<(), Errno> {
    const NO_PARAMETERS: &CStr = c"";
    match finit_module(file, NO_PARAMETERS, ModuleInitFlags::empty()) {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// 0: a network card. 1: a virtual bus that may hold one. 2: anything else.
fn urgency(modalias: &str) -> u8 {
    match modalias {
        _ if modalias.starts_with("pci:") && modalias.contains("bc02") => 0,
        _ if modalias.starts_with("virtio:d00000001") => 0,
        _ if modalias.starts_with("pci:v00001AF4") || modalias.starts_with("acpi:VMBUS") => 1,
        _ => 2,
    }
}

/// Depth of `/sys/devices` that is walked; a bus deeper than this is not a place for a boot disk or a network card.
const DEPTH_MAX: u32 = 24;

fn collect_modaliases(dir: &Path, depth: u32, into: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < DEPTH_MAX {
            collect_modaliases(&entry.path(), depth + 1, into);
        } else if entry.file_name() == "modalias" {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            into.extend(Some(text.trim().to_owned()).filter(|alias| !alias.is_empty()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko
kernel/net/core/failover.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/net/cross-a.ko: kernel/drivers/net/cross-b.ko
kernel/drivers/net/cross-b.ko: kernel/drivers/net/cross-a.ko
";
    const ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias virtio:d00000001v* virtio_net
alias pci:v00008086d0000100Esv*sd*bc*sc*i* e1000
alias pci:v*d*sv*sd*bc01sc08i02* nvme
alias acpi*:PNP0C0[AB]:* battery
";

    #[test]
    fn modalias_selects_the_modules_whose_glob_fits_the_whole_text() {
        let modules = Modules::parse(DEP, ALIAS);
        for (modalias, expected) in [
            ("virtio:d00000001v00001AF4", vec!["virtio_net"]),
            ("virtio:d00000010v00001AF4", vec![]),
            ("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00", vec!["e1000"]),
            ("pci:v00001B36d00000010sv00001AF4sd00001100bc01sc08i02", vec!["nvme"]),
            ("acpi:PNP0C0A:", vec!["battery"]),
            ("acpi:PNP0C0C:", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(modules.matching(modalias), expected, "{modalias}");
        }
    }

    #[test]
    fn globs_match_as_fnmatch_does() {
        for (glob, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("a*", "a", true),
            ("*a", "bca", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxx", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a[0-9]c", "a5c", true),
            ("a[0-9]c", "axc", false),
            ("a[0-9", "a5", false),
            ("abc", "abcd", false),
            ("**x", "x", true),
        ] {
            assert_eq!(glob_matches(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn load_order_puts_each_need_before_its_user_once() {
        let modules = Modules::parse(DEP, ALIAS);
        let order = modules.load_order("virtio_net");
        let at = |name| order.iter().position(|&n| n == name).unwrap();
        assert_eq!(order.len(), 4);
        assert!(at("virtio_ring") < at("virtio") && at("virtio") < at("virtio_net"));
        assert!(at("failover") < at("virtio_net"));
    }

    #[test]
    fn network_cards_come_first() {
        assert_eq!(urgency("pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00"), 0);
        assert_eq!(urgency("virtio:d00000001v00001AF4"), 0);
        assert_eq!(urgency("pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00"), 1);
        assert_eq!(urgency("acpi:PNP0A08:"), 2);
    }

    #[test]
    fn circular_and_unknown_modules_end() {
        let modules = Modules::parse(DEP, ALIAS);
        assert_eq!(modules.load_order("cross_a").len(), 2);
        assert!(modules.load_order("unheard_of").is_empty());
    }
}

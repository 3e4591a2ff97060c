//! `groundstate setup`: four questions, or a file with the four answers, become a configuration.
//!
//! ```text
//! terminal or answers ─► Answers ─► text of the configuration ─► checked as `serve` checks it ─► written, once
//! ```
//!
//! Nothing that is there is overwritten, and keys are not made here: the first start makes them, as the user that it runs as.
//! It must never: start anything, or answer firmware.

use std::{
    fs,
    io::{self, BufRead, Write},
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use recovery_protocol::EndpointId;
use serde::Deserialize;

use crate::{
    config::{Config, ConfigError, Dhcp},
    interfaces::{self, InterfaceError, Local},
};

/// Why nothing was set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// There is a configuration already.
    #[error("{0} is there already; change it with an editor, or name another file with --config")]
    Exists(PathBuf),
    /// The answers cannot be read.
    #[error(
        "the answers in {path} cannot be used: {why}; the keys are `site`, `interface`, `dhcp` (off, proxy, full) and `images`"
    )]
    Answers {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        why: String,
    },
    /// The terminal went away.
    #[error(
        "there was no answer to `{0}`; run it at a terminal, or put the answers into a file for --answers"
    )]
    NoAnswer(&'static str),
    /// An answer that cannot be.
    #[error("{0}")]
    Wrong(String),
    /// The system does not list its interfaces.
    #[error(transparent)]
    Interfaces(#[from] InterfaceError),
    /// The text that came out is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The file cannot be written.
    #[error("{path} cannot be written: {why}; run it as root, or name another file with --config")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
    },
}

/// The four answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// The site's name.
    pub site: EndpointId,
    /// The interface towards endpoints.
    pub interface: String,
    /// What is answered on it.
    pub dhcp: Dhcp,
    /// Where golden images lie; none: in the data directory.
    #[serde(default)]
    pub images: Option<PathBuf>,
}

impl Answers {
    /// Read them from a TOML file.
    ///
    /// # Errors
    /// [`SetupError::Answers`].
    pub fn read(path: &Path) -> Result<Self, SetupError> {
        let wrong = |why: String| SetupError::Answers { path: path.to_owned(), why };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        toml::from_str(&text).map_err(|error| wrong(error.to_string()))
    }

    /// Ask for them. An empty line takes what stands in brackets; a wrong answer is asked for again.
    ///
    /// # Errors
    /// [`SetupError::NoAnswer`] when `from` ends.
    pub fn ask(from: &mut dyn BufRead, to: &mut dyn Write, local: &[Local]) -> Result<Self, SetupError> {
        let mut ask = |what, question: &str, usual: &str| -> Result<String, SetupError> {
            let _ = write!(to, "{question} [{usual}]: ").and_then(|()| to.flush());
            let mut line = String::new();
            match from.read_line(&mut line) {
                Ok(read) if read > 0 => {
                    Ok(Some(line.trim()).filter(|line| !line.is_empty()).unwrap_or(usual).to_owned())
                }
                _ => Err(SetupError::NoAnswer(what)),
            }
        };
        let site = loop {
            if let Ok(site) = ask("site", "Name of the site (a-z, 0-9, -)", "groundstate")?.parse() {
                break site;
            }
        };
        let names =
            local.iter().map(|one| format!("{} {}", one.name, one.addr)).collect::<Vec<_>>().join(", ");
        let usual = local.first().map_or("", |one| one.name.as_str());
        let interface = loop {
            let said = ask("interface", &format!("Interface towards the endpoints ({names})"), usual)?;
            if local.iter().any(|one| one.name == said) || (local.is_empty() && !said.is_empty()) {
                break said;
            }
        };
        let question = "DHCP there: `proxy` beside the site's own, `full` on a network of our own, `off`";
        let dhcp = loop {
            match ask("dhcp", question, "proxy")?.as_str() {
                "proxy" => break Dhcp::Proxy,
                "full" => break Dhcp::Full,
                "off" => break Dhcp::Off,
                _ => {}
            }
        };
        let usual = Config::default().image_store();
        let images = ask("images", "Directory of golden images", &usual.display().to_string())?;
        let images = Some(PathBuf::from(images)).filter(|said| *said != usual);
        Ok(Self { site, interface, dhcp, images })
    }

    /// The configuration that they mean.
    ///
    /// # Errors
    /// [`SetupError::Wrong`] when the interface is not there, or its network has no room for a pool.
    pub fn configuration(&self, local: &[Local]) -> Result<String, SetupError> {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut text = format!(
            "# Written by `groundstate setup`. Every key: `groundstate config reference`.\n\
             site = {}\n",
            quoted(&self.site.to_string())
        );
        if let Some(images) = &self.images {
            let shown = images.to_str().filter(|_| images.is_absolute());
            let shown = shown.ok_or_else(|| {
                SetupError::Wrong(format!("{} is no whole path; begin it with `/`", images.display()))
            })?;
            text += &format!("image_store_dir = {}\n", quoted(shown));
        }
        text += "# boot_kit_dir = \"/var/lib/groundstate/kit\"     # after `groundstate-bootkit build --out` of it\n";
        let own = local.iter().find(|one| one.name == self.interface).ok_or_else(|| {
            let known = local.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ");
            SetupError::Wrong(format!(
                "there is no interface `{}` with an IPv4 address here; there are: {known}. Give it one (`ip addr add …`), or name another",
                self.interface
            ))
        })?;
        text += &format!("\n[[interfaces]]\nname = {}\n", quoted(&self.interface));
        text += match self.dhcp {
            Dhcp::Off => "dhcp = \"off\"\n",
            Dhcp::Proxy => "dhcp = \"proxy\"\n",
            Dhcp::Full => "dhcp = \"full\"\n",
        };
        if self.dhcp == Dhcp::Full {
            let (first, last) = pool(own.addr, own.prefix).ok_or_else(|| {
                SetupError::Wrong(format!(
                    "the network of {}, {}/{}, has no room for a pool of addresses; give the interface an address of a larger one",
                    own.name, own.addr, own.prefix
                ))
            })?;
            text += &format!("pool = {{ first = \"{first}\", last = \"{last}\" }}\n");
        }
        text += "\n# Endpoints are only watched until you say more: observe, quarantine, approve, auto.\n\
                 [groups.default]\nmode = \"observe\"\n";
        Ok(text)
    }
}

/// The upper part of a network, at most 200 addresses, without our own.
fn pool(own: Ipv4Addr, prefix: u8) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let size = 1_u32.checked_shl(32 - u32::from(prefix)).filter(|size| *size >= 16)?;
    let own = u32::from(own);
    let network = own & !(size - 1);
    let (first, last) = (network + size / 2, network + (size - 2));
    let (first, last) = match own {
        below if below < first => (first, last),
        // The larger of the two parts that our own address leaves.
        _ if own - first > last.saturating_sub(own) => (first, own - 1),
        _ => (own + 1, last),
    };
    Some((Ipv4Addr::from(first), Ipv4Addr::from(last.min(first.saturating_add(199)))))
}

/// The user that the package's unit runs as.
const USER: &str = "groundstate";
/// Where the package's unit lets it write.
const WRITABLE: [&str; 3] = ["/srv", "/mnt", "/var/lib/groundstate"];

/// The directory of images, made where it is not there, and given to the user that the appliance runs as, where there is that user.
fn place(images: &Path) -> Result<(), SetupError> {
    let wrong = |why: io::Error| SetupError::Write { path: images.to_owned(), why };
    let fresh = !images.exists();
    fs::create_dir_all(images).map_err(wrong)?;
    let user = nix::unistd::User::from_name(USER).ok().flatten();
    match user {
        // What was there before may be somebody else's.
        Some(user) if fresh => {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            std::os::unix::fs::chown(images, Some(uid), Some(gid)).map_err(wrong)
        }
        _ => Ok(()),
    }
}

/// What a person must do besides, because the unit keeps the appliance out of where the images shall lie.
#[must_use]
pub fn kept_out(answers: &Answers) -> Option<String> {
    let images = answers.images.as_ref()?;
    let is_open = WRITABLE.iter().any(|dir| images.starts_with(dir));
    let dir = images.display();
    (!is_open).then(|| {
        format!("systemd keeps the appliance out of {dir}: `systemctl edit groundstate`, and write `[Service]` and `ReadWritePaths={dir}`")
    })
}

/// Check and write the configuration. `local` is what this machine has.
///
/// # Errors
/// [`SetupError`]; nothing is written then.
pub fn write(answers: &Answers, local: &[Local], path: &Path) -> Result<(), SetupError> {
    let text = answers.configuration(local)?;
    Config::parse(&text, path)?;
    if path.exists() {
        return Err(SetupError::Exists(path.to_owned()));
    }
    if let Some(images) = &answers.images {
        place(images)?;
    }
    let wrong = |why: io::Error| match why.kind() {
        io::ErrorKind::AlreadyExists => SetupError::Exists(path.to_owned()),
        _ => SetupError::Write { path: path.to_owned(), why },
    };
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o640).open(path).map_err(wrong)?;
    let done = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // The directory belongs to the group that the appliance runs as.
    let group = path.parent().and_then(|dir| fs::metadata(dir).ok()).map(|dir| dir.gid());
    let done = done.and_then(|()| std::os::unix::fs::fchown(&file, None, group));
    done.map_err(|why| {
        let _ = fs::remove_file(path);
        SetupError::Write { path: path.to_owned(), why }
    })
}

/// Refuse before anything is asked what cannot be done in the end.
///
/// # Errors
/// [`SetupError::Exists`].
pub fn may(path: &Path) -> Result<Vec<Local>, SetupError> {
    if path.exists() {
        return Err(SetupError::Exists(path.to_owned()));
    }
    Ok(interfaces::local()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn local() -> Vec<Local> {
        [("enp1s0", [192, 0, 2, 9], 24), ("enp2s0", [10, 7, 0, 5], 24), ("tiny0", [10, 9, 0, 1], 30)]
            .map(|(name, addr, prefix)| Local { name: name.to_owned(), addr: addr.into(), prefix })
            .to_vec()
    }

    fn asked(lines: &str) -> Result<Answers, SetupError> {
        Answers::ask(&mut lines.as_bytes(), &mut Vec::new(), &local())
    }

    #[test]
    fn four_answers_make_a_configuration_that_serve_takes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groundstate.toml");
        let images = dir.path().join("images");
        let answers = asked(&format!("plant-7\nenp2s0\nfull\n{}\n", images.display())).unwrap();
        write(&answers, &local(), &path).unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.site.to_string(), "plant-7");
        assert!(config.image_store() == images && images.is_dir());
        let said = kept_out(&answers).unwrap();
        assert!(said.contains(&format!("ReadWritePaths={}", images.display())), "{said}");
        assert_eq!(kept_out(&Answers { images: Some("/srv/images".into()), ..answers.clone() }), None);
        let [interface] = &config.interfaces[..] else { panic!("{:?}", config.interfaces) };
        assert_eq!((interface.name.as_str(), interface.dhcp), ("enp2s0", Dhcp::Full));
        let pool = interface.pool.as_ref().unwrap();
        assert_eq!((pool.first, pool.last), ([10, 7, 0, 128].into(), [10, 7, 0, 254].into()));
        // Said twice: what is there stays.
        let text = fs::read(&path).unwrap();
        assert!(matches!(write(&answers, &local(), &path), Err(SetupError::Exists(_))));
        assert!(matches!(may(&path), Err(SetupError::Exists(_))));
        assert_eq!(fs::read(&path).unwrap(), text);
    }

    #[test]
    fn empty_lines_take_what_stands_in_brackets_and_wrong_ones_are_asked_again() {
        let answers = asked("Plant 7\nplant-7\nno-such-if\n\nmaybe\n\n\n").unwrap();
        let expected = Answers {
            site: "plant-7".parse().unwrap(),
            interface: "enp1s0".to_owned(),
            dhcp: Dhcp::Proxy,
            images: None,
        };
        assert_eq!(answers, expected);
        assert!(matches!(asked("plant-7\n"), Err(SetupError::NoAnswer("interface"))));
        assert!(matches!(asked(""), Err(SetupError::NoAnswer("site"))));
    }

    #[test]
    fn a_file_answers_too_and_its_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("answers.toml");
        fs::write(&file, "site = \"plant-7\"\ninterface = \"enp2s0\"\ndhcp = \"off\"\n").unwrap();
        let answers = Answers::read(&file).unwrap();
        assert!(answers.configuration(&local()).unwrap().contains("dhcp = \"off\""));
        fs::write(&file, "site = \"plant-7\"\ninterface = \"enp2s0\"\ndhcp = \"off\"\npool = 3\n").unwrap();
        let why = Answers::read(&file).unwrap_err().to_string();
        assert!(why.contains("pool") && why.contains("line 4"), "{why}");
        let elsewhere = Answers { interface: "eth9".to_owned(), ..answers.clone() };
        let why = elsewhere.configuration(&local()).unwrap_err().to_string();
        assert!(why.contains("eth9") && why.contains("enp1s0, enp2s0, tiny0"), "{why}");
        let small = Answers { interface: "tiny0".to_owned(), dhcp: Dhcp::Full, ..answers.clone() };
        assert!(small.configuration(&local()).unwrap_err().to_string().contains("no room"));
        let relative = Answers { images: Some("images".into()), ..answers };
        assert!(relative.configuration(&local()).unwrap_err().to_string().contains("whole path"));
    }

    proptest! {
        #[test]
        fn a_pool_lies_in_the_network_and_never_holds_our_own_address(own: u32, prefix in 8_u8..=32) {
            if let Some((first, last)) = pool(Ipv4Addr::from(own), prefix) {
                let mask = u32::MAX << (32 - u32::from(prefix));
                let (network, broadcast) = (own & mask, own | !mask);
                let (first, last) = (u32::from(first), u32::from(last));
                prop_assert!(network < first && first <= last && last < broadcast);
                prop_assert!(!(first..=last).contains(&own));
                prop_assert!(last - first < 200);
            } else {
                prop_assert!(prefix > 28);
            }
        }
    }
}

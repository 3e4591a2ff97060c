//! What Debian's package manager knows: the file to install, and what is installed, which can be packed again.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use super::home::asked;

const NAME: &str = "groundstate";
const PROGRAM: &str = "usr/bin/groundstate";
/// Where dpkg keeps what belongs to an installed package (dpkg(1), FILES).
const INFO: &str = "/var/lib/dpkg/info";
/// The parts of a package's control that dpkg keeps there (deb-control(5) and its kin).
const CONTROL: [&str; 6] = ["preinst", "postinst", "prerm", "postrm", "conffiles", "triggers"];

/// A package file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its version.
    pub version: String,
}

impl Package {
    /// # Errors
    /// A sentence, when it is no package of this program for this computer.
    pub fn read(file: &Path) -> Result<Self, String> {
        let field = |name: &str| -> Result<String, String> {
            let said = asked(Command::new("dpkg-deb").arg("--field").arg(file).arg(name))?;
            Ok(said.trim().to_owned())
        };
        let (name, architecture) = (field("Package")?, field("Architecture")?);
        if name != NAME {
            return Err(format!("{} holds the package {name:?}, not {NAME}", file.display()));
        }
        let here = asked(Command::new("dpkg").arg("--print-architecture"))?;
        if architecture != here.trim() && architecture != "all" {
            return Err(format!(
                "{} is for {architecture}, and this computer is {}",
                file.display(),
                here.trim()
            ));
        }
        Ok(Self { version: field("Version")? })
    }

    /// Lays its files into a directory. The program among them.
    ///
    /// # Errors
    /// As `dpkg-deb` says it.
    pub fn unpack(&self, file: &Path, dir: &Path) -> Result<PathBuf, String> {
        asked(Command::new("dpkg-deb").arg("--extract").arg(file).arg(dir))?;
        // The appliance's own user tries it.
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(|error| error.to_string())?;
        let program = dir.join(PROGRAM);
        if program.is_file() { Ok(program) } else { Err(format!("{} has no {PROGRAM}", file.display())) }
    }
}

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// Its version.
    pub version: String,
    fields: String,
}

impl Installed {
    /// # Errors
    /// When it did not come as a package.
    pub fn find() -> Result<Self, String> {
        let said = asked(Command::new("dpkg").args(["--status", NAME])).map_err(|why| {
            format!("this appliance was not installed as a package ({why}); install it by `dpkg -i` first")
        })?;
        let fields = control(&said);
        let version = fields.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(Self { version: version.ok_or("dpkg says no version")?.to_owned(), fields: fields.clone() })
    }

    /// Packs the files that are installed as the package they came in.
    ///
    /// # Errors
    /// When a file cannot be read or written, or `dpkg-deb` fails.
    pub fn pack(&self, into: &Path) -> Result<PathBuf, String> {
        let work =
            tempfile::Builder::new().prefix("pack-").tempdir_in(into).map_err(|error| error.to_string())?;
        let list = asked(Command::new("dpkg").args(["--listfiles", NAME]))?;
        for file in list.lines().map(Path::new).filter(|file| file.is_absolute()) {
            copy(file, work.path()).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        let about = work.path().join("DEBIAN");
        let wrote = fs::create_dir_all(&about).and_then(|()| fs::write(about.join("control"), &self.fields));
        wrote.map_err(|error| format!("{}: {error}", about.display()))?;
        for part in CONTROL {
            let from = Path::new(INFO).join(format!("{NAME}.{part}"));
            if from.is_file() {
                fs::copy(&from, about.join(part)).map_err(|error| format!("{}: {error}", from.display()))?;
            }
        }
        let package = into.join(format!("{NAME}_{}.deb", self.version.replace(':', "%3a")));
        // Made now and read at most once: to squeeze it would only keep the upgrade waiting.
        let words = ["--build", "--root-owner-group", "-Zgzip", "-z1"];
        asked(Command::new("dpkg-deb").args(words).arg(work.path()).arg(&package))?;
        Ok(package)
    }
}

/// The fields of `dpkg --status` that a package brings itself: all but what dpkg says of its installation.
fn control(status: &str) -> String {
    let mut kept = String::new();
    let mut keep = true;
    for line in status.lines() {
        // A line that begins with a space goes on with the field before it (deb-control(5)).
        if !line.starts_with([' ', '\t']) {
            keep = !["Status:", "Conffiles:", "Config-Version:"].iter().any(|field| line.starts_with(field));
        }
        if keep && !line.trim().is_empty() {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// A file of the system into the tree of a package, with its mode.
fn copy(file: &Path, root: &Path) -> std::io::Result<()> {
    let to = root.join(file.strip_prefix("/").unwrap_or(file));
    let meta = match fs::symlink_metadata(file) {
        // Left out when it was installed (dpkg's path-exclude), as manual pages often are.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    // Where the system has a link in the place of a directory (/lib since Debian 12), the package had the directory.
    if fs::metadata(file).is_ok_and(|meta| meta.is_dir()) {
        fs::create_dir_all(&to)
    } else if meta.is_symlink() {
        symlink(fs::read_link(file)?, to)
    } else {
        fs::copy(file, &to)?;
        fs::set_permissions(&to, fs::Permissions::from_mode(meta.mode()))
    }
}

/// `dpkg -i`. A version before the one that is installed is one that is brought back.
///
/// # Errors
/// As `dpkg` says it.
pub fn install(package: &Path) -> Result<(), String> {
    let mut dpkg = Command::new("dpkg");
    // A configuration file of the package that somebody changed stays as it is.
    dpkg.args(["--force-confold", "--force-downgrade", "--install"]).arg(package);
    asked(dpkg.env("DEBIAN_FRONTEND", "noninteractive")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_packed_with_the_fields_it_came_with() {
        let status = "Package: groundstate\nStatus: install ok installed\nVersion: 0.1.0\nConffiles:\n /etc/x 00ff\n\
                      Description: site-local\n Boots endpoints\n signed\n\n";
        let said = control(status);
        assert_eq!(
            said,
            "Package: groundstate\nVersion: 0.1.0\nDescription: site-local\n Boots endpoints\n signed\n"
        );
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_is_packed_as_the_directory() {
        let (system, tree) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| system.path().join(path);
        fs::create_dir_all(at("usr/lib/unit")).unwrap();
        fs::write(at("usr/lib/unit/x.service"), "[Unit]").unwrap();
        symlink("usr/lib", at("lib")).unwrap();
        symlink("x.service", at("usr/lib/unit/y.service")).unwrap();
        for file in ["lib", "lib/unit", "lib/unit/x.service", "lib/unit/y.service"] {
            fs::create_dir_all(tree.path().join(system.path().strip_prefix("/").unwrap())).unwrap();
            copy(&at(file), tree.path()).unwrap();
        }
        let packed = tree.path().join(system.path().strip_prefix("/").unwrap()).join("lib/unit");
        assert_eq!(fs::read_to_string(packed.join("x.service")).unwrap(), "[Unit]");
        assert_eq!(fs::read_link(packed.join("y.service")).unwrap(), Path::new("x.service"));
    }

    /// Debian's own tool makes the packages and takes them apart.
    #[test]
    fn only_a_package_of_this_program_for_this_computer_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let here = asked(Command::new("dpkg").arg("--print-architecture")).unwrap();
        let make = |name: &str, architecture: &str, program: bool| {
            let tree = dir.path().join(format!("{name}-{architecture}-{program}"));
            fs::create_dir_all(tree.join("DEBIAN")).unwrap();
            let text = format!(
                "Package: {name}\nVersion: 0.2.0\nArchitecture: {architecture}\nMaintainer: A <a@example.org>\nDescription: x\n"
            );
            fs::write(tree.join("DEBIAN/control"), text).unwrap();
            if program {
                fs::create_dir_all(tree.join("usr/bin")).unwrap();
                fs::write(tree.join(PROGRAM), "#!/bin/sh\n").unwrap();
            }
            let file = tree.with_extension("deb");
            asked(Command::new("dpkg-deb").arg("--build").arg(&tree).arg(&file)).unwrap();
            file
        };
        let good = make(NAME, here.trim(), true);
        let package = Package::read(&good).unwrap();
        assert_eq!(package.version, "0.2.0");
        let laid = tempfile::tempdir().unwrap();
        assert!(package.unpack(&good, laid.path()).unwrap().is_file());
        assert!(Package::read(&make("other", here.trim(), true)).unwrap_err().contains("not groundstate"));
        assert!(Package::read(&make(NAME, "s390x", true)).unwrap_err().contains("s390x"));
        let empty = make(NAME, here.trim(), false);
        let package = Package::read(&empty).unwrap();
        assert!(package.unpack(&empty, laid.path().join("x").as_path()).unwrap_err().contains(PROGRAM));
        let torn = dir.path().join("torn.deb");
        fs::write(&torn, &fs::read(&good).unwrap()[..100]).unwrap();
        assert!(Package::read(&torn).is_err());
    }
}

//! The few words of GRUB's configuration language that say which kernel it starts and how.
//!
//! GRUB's `tpm` module measures the kernel command line into PCR 8 and every file it reads into PCR 9
//! (GNU GRUB manual 2.06, "Measured Boot"). The PCR 8 event's digest is of the string alone; the event's text has
//! `kernel_cmdline: ` before it (grub-core/commands/tpm.c, `grub_tpm_verify_string`). The string is what stands after
//! `BOOT_IMAGE=` on the kernel's own command line: the kernel's path and its arguments, quoted again
//! (grub-core/lib/cmdline.c, `grub_create_loader_cmdline`).

/// What one `linux` command and the `initrd` after it say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Path of the kernel as written, such as `/vmlinuz`.
    pub kernel: String,
    /// Its arguments, in order, unquoted.
    pub arguments: Vec<String>,
    /// Paths of the initial RAM disks as written.
    pub initrds: Vec<String>,
    /// Started by `linuxefi`: GRUB leaves the firmware running and the kernel takes over the event log itself.
    pub by_firmware: bool,
}

impl Entry {
    /// The string that GRUB measures into PCR 8.
    pub fn measured_command_line(&self) -> String {
        let words: Vec<String> =
            std::iter::once(&self.kernel).chain(&self.arguments).map(|word| quote(word)).collect();
        words.join(" ")
    }

    /// Whether a word holds a variable that only GRUB can expand.
    pub fn has_variables(&self) -> bool {
        std::iter::once(&self.kernel)
            .chain(&self.arguments)
            .chain(&self.initrds)
            .any(|word| word.contains('$'))
    }
}

/// The first entry of a configuration that starts a kernel.
pub fn first_entry(config: &str) -> Option<Entry> {
    let mut entry: Option<Entry> = None;
    for line in config.lines() {
        let mut words = words(line).into_iter();
        match (words.next().as_deref(), &mut entry) {
            (Some(command @ ("linux" | "linuxefi")), None) => {
                let by_firmware = command == "linuxefi";
                let kernel = words.next()?;
                let (arguments, initrds) = (words.collect(), Vec::new());
                entry = Some(Entry { kernel, arguments, initrds, by_firmware });
            }
            (Some("initrd" | "initrdefi"), Some(entry)) => {
                entry.initrds = words.collect();
                break;
            }
            (Some("linux" | "linuxefi" | "menuentry"), Some(_)) => break,
            _ => {}
        }
    }
    entry
}

/// As `grub_create_loader_cmdline` does it: words with spaces in double quotes, quotes and backslashes escaped.
fn quote(word: &str) -> String {
    let escaped: String = word
        .chars()
        .flat_map(|c| match c {
            '\\' | '"' | '\'' => vec!['\\', c],
            c => vec![c],
        })
        .collect();
    if word.contains(' ') { format!("\"{escaped}\"") } else { escaped }
}

/// Words of a line: quotes and backslashes as in the GRUB manual, section "Quoting"; comments dropped.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('#', None) if word.is_none() => break,
            (';', None) => break,
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"
        # linux /commented out
        set timeout=0
        menuentry 'Debian' --class debian {
            search --no-floppy --label --set=root ESP
            linux   /vmlinuz root=LABEL=root  ro "quiet splash" console=ttyS0,115200
            initrd  /initrd.img
        }
        menuentry 'Other' {
            linux /other
        }
    "#;

    #[test]
    fn the_first_kernel_is_found() {
        let entry = first_entry(CONFIG).unwrap();
        assert_eq!(entry.kernel, "/vmlinuz");
        assert_eq!(entry.arguments, ["root=LABEL=root", "ro", "quiet splash", "console=ttyS0,115200"]);
        assert_eq!(entry.initrds, ["/initrd.img"]);
        assert_eq!(
            entry.measured_command_line(),
            "/vmlinuz root=LABEL=root ro \"quiet splash\" console=ttyS0,115200"
        );
        assert!(!entry.has_variables() && !entry.by_firmware);
        assert!(first_entry("linuxefi /vmlinuz").unwrap().by_firmware);
    }

    #[test]
    fn variables_are_noticed_and_nonsense_is_not_an_entry() {
        assert!(first_entry("linux ($root)/vmlinuz ro").unwrap().has_variables());
        assert_eq!(first_entry("set root=hd0\nboot"), None);
        assert_eq!(first_entry("linux"), None);
        assert_eq!(first_entry("linux /a\nlinux /b\ninitrd /c").unwrap().initrds, Vec::<String>::new());
    }

    #[test]
    fn quoting_is_undone_and_done_again() {
        assert_eq!(words(r#"a 'b c' "d \"e" f\ g 'h'i # j"#), ["a", "b c", "d \"e", "f g", "hi"]);
        assert_eq!(quote(r"it's"), r"it\'s");
    }
}

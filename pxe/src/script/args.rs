//! Kernel arguments that are safe in every language they pass through: iPXE, GRUB, the kernel's own parser.
//!
//! Instead of one clever escaping for all, the alphabet is small: no blank, quote, dollar, backslash or shell sign can
//! stand in an argument, so that an argument is one word everywhere. Only braces need care, in GRUB, which reads them as
//! blocks.

use std::fmt;
use std::net::SocketAddrV4;

/// Longest argument and longest line, in bytes.
const ARG_LEN_MAX: usize = 256;
const LINE_LEN_MAX: usize = 1024;

/// A checked list of kernel arguments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelArgs(Vec<String>);

/// An argument that cannot be passed on safely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadArg {
    /// Empty, too long, or with a sign outside the alphabet.
    #[error("kernel argument `{0}`: use letters, digits and - _ . , : = / @ + {{ }}, at most 256")]
    Arg(String),
    /// All together are too long.
    #[error("the kernel arguments are {0} bytes long; at most 1024 fit")]
    Line(usize),
}

impl KernelArgs {
    /// Checks arguments.
    pub fn new<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Result<Self, BadArg> {
        let args: Vec<String> = args.into_iter().map(|a| a.as_ref().to_owned()).collect();
        if let Some(bad) = args.iter().find(|a| a.len() > ARG_LEN_MAX || !is_plain(a)) {
            return Err(BadArg::Arg(bad.chars().take(ARG_LEN_MAX).collect()));
        }
        let len = args.iter().map(|a| a.len() + 1).sum();
        if len > LINE_LEN_MAX { Err(BadArg::Line(len)) } else { Ok(KernelArgs(args)) }
    }

    /// The same, led by the one argument that the agent needs: where the appliance is.
    #[must_use]
    pub fn with_appliance(&self, appliance: SocketAddrV4) -> Self {
        let mut args = vec![format!("gs.appliance={appliance}")];
        args.extend(self.0.iter().cloned());
        KernelArgs(args)
    }

    /// The arguments, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for KernelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Whether a text is one plain word in all of the languages.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.,:=/@+{}".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_arguments_pass_and_keep_their_order() {
        let args = KernelArgs::new(["console=ttyS0,115200n8", "quiet"]).expect("valid");
        let appliance = "10.0.0.1:8443".parse().expect("address");
        let line = args.with_appliance(appliance).to_string();
        assert_eq!(line, "gs.appliance=10.0.0.1:8443 console=ttyS0,115200n8 quiet");
    }

    #[test]
    fn anything_that_a_loader_could_interpret_is_refused() {
        for bad in [
            "",
            "a b",
            "a\nb",
            "$root",
            "${net0/mac}",
            "a;b",
            "a'b",
            "a\"b",
            "a\\b",
            "a&b",
            "a|b",
            "#",
            "\u{e9}",
        ] {
            assert!(matches!(KernelArgs::new([bad]), Err(BadArg::Arg(_))), "{bad:?}");
        }
        assert!(KernelArgs::new(["a".repeat(257)]).is_err());
        assert!(matches!(KernelArgs::new(vec!["a".repeat(200); 6]), Err(BadArg::Line(1206))));
    }
}

//! The boot kit as a fixed table: name to bytes. TFTP and HTTP serve from it and from nothing else.
//!
//! A name that a client sends is a key, never a path: it is folded to one spelling ([`fold`]) and looked up. There is no
//! directory, no file system and no redirect behind it, so traversal has nothing to traverse.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::policy::BootRequest;

/// Longest name accepted, in bytes.
pub const NAME_LEN_MAX: usize = 255;

/// Renders a file for one client: a boot script, a GRUB configuration.
pub type Render = Arc<dyn Fn(&BootRequest) -> Bytes + Send + Sync>;

/// One file of the boot kit.
#[derive(Clone)]
pub struct Artefact {
    name: String,
    body: Body,
    content_type: &'static str,
    etag: Option<String>,
}

#[derive(Clone)]
enum Body {
    Fixed(Bytes),
    Rendered(Render),
}

/// An artefact that cannot be in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadArtefact {
    /// The name does not survive folding, so no client could ask for it.
    #[error("`{0}` cannot be served; use lower case letters, digits and . _ - / without leading slash")]
    Name(String),
    /// An empty body hangs shim over HTTP (EDK2 waits for bytes that never come).
    #[error("`{0}` is empty; an empty boot file hangs some firmware")]
    Empty(String),
    /// The digest cannot stand in an ETag.
    #[error("the digest of `{0}` must be plain ASCII letters and digits")]
    Digest(String),
}

impl Artefact {
    /// A file with fixed content. `digest` is the hex digest of its bytes; it becomes the strong ETag.
    pub fn fixed(name: &str, bytes: Bytes, digest: &str) -> Result<Self, BadArtefact> {
        if bytes.is_empty() {
            return Err(BadArtefact::Empty(name.into()));
        }
        if digest.is_empty() || !digest.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(BadArtefact::Digest(name.into()));
        }
        Self::new(name, Body::Fixed(bytes), Some(format!("\"{digest}\"")))
    }

    /// A file rendered for each client anew. It has no ETag and is not served in ranges. Its bytes may not be empty.
    pub fn rendered(name: &str, render: Render) -> Result<Self, BadArtefact> {
        Self::new(name, Body::Rendered(render), None)
    }

    fn new(name: &str, body: Body, etag: Option<String>) -> Result<Self, BadArtefact> {
        if fold(name.as_bytes()).as_deref() != Some(name) {
            return Err(BadArtefact::Name(name.chars().take(NAME_LEN_MAX).collect()));
        }
        Ok(Artefact { content_type: content_type(name), name: name.into(), body, etag })
    }

    /// The same file under another name.
    pub fn alias(&self, name: &str) -> Result<Self, BadArtefact> {
        Self::new(name, self.body.clone(), self.etag.clone())
    }

    /// Table name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The bytes for this client.
    pub fn bytes(&self, request: &BootRequest) -> Bytes {
        match &self.body {
            Body::Fixed(bytes) => bytes.clone(),
            Body::Rendered(render) => render(request),
        }
    }

    /// Media type. UEFI HTTP Boot decides by it, or by the suffix, whether the file is a program (EDK2
    /// `HttpBootSupport.c`).
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Strong entity tag with its quotes, for fixed files.
    pub fn etag(&self) -> Option<&str> {
        self.etag.as_deref()
    }
}

impl std::fmt::Debug for Artefact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Artefact").field("name", &self.name).field("etag", &self.etag).finish_non_exhaustive()
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("efi") => "application/efi",
        Some("iso") => "application/vnd.efi-iso",
        Some("img") if !name.starts_with("initrd") => "application/vnd.efi-img",
        Some("ipxe" | "cfg" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// The table.
#[derive(Debug, Clone, Default)]
pub struct Artefacts {
    table: BTreeMap<String, Artefact>,
}

impl Artefacts {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, artefact: Artefact) -> &mut Self {
        self.table.insert(artefact.name.clone(), artefact);
        self
    }

    /// The file for a name as a client sent it, in any spelling that [`fold`] accepts.
    pub fn find(&self, raw: &[u8]) -> Option<&Artefact> {
        self.table.get(&fold(raw)?)
    }

    /// Whether a file of exactly this table name exists.
    pub fn contains(&self, name: &str) -> bool {
        self.table.contains_key(name)
    }

    /// All table names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.table.keys().map(String::as_str)
    }
}

/// Folds a name as firmware spells it into a table name, or `None` if it cannot be one.
///
/// Cuts at the first NUL or 0xff (ROMs that read past option 67 append such bytes), trims blanks, turns backslashes
/// around, collapses slashes, drops `.` segments and the leading slash, lowers the case. A `..` segment, a control or
/// non-ASCII character, an empty or an overlong name has no table name.
pub fn fold(raw: &[u8]) -> Option<String> {
    let end = raw.iter().position(|b| matches!(b, 0 | 0xff)).unwrap_or(raw.len());
    let text = std::str::from_utf8(&raw[..end]).ok()?.trim();
    if text.len() > NAME_LEN_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    for segment in text.split(['/', '\\']).filter(|s| !s.is_empty() && *s != ".") {
        if segment == ".." {
            return None;
        }
        if !out.is_empty() {
            out.push('/');
        }
        out.push_str(segment);
    }
    out.make_ascii_lowercase();
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a10_trailing_nul_and_ff_after_the_name_are_cut() {
        assert_eq!(fold(b"snponly.efi\0").as_deref(), Some("snponly.efi"));
        assert_eq!(fold(b"undionly.kpxe\xff").as_deref(), Some("undionly.kpxe"));
        assert_eq!(fold(b"undionly.kpxe\xff\x03garbage").as_deref(), Some("undionly.kpxe"));
        assert_eq!(fold(b"shimx64.efi  ").as_deref(), Some("shimx64.efi"));
    }

    #[test]
    fn d11_backslashes_case_and_slashes_fold_to_one_name() {
        for spelling in
            ["grub/grub.cfg", "/grub/grub.cfg", "//GRUB//grub.CFG", "\\grub\\grub.cfg", "./grub/./grub.cfg"]
        {
            assert_eq!(fold(spelling.as_bytes()).as_deref(), Some("grub/grub.cfg"), "{spelling}");
        }
    }

    #[test]
    fn traversal_in_every_spelling_has_no_table_name() {
        for bad in [
            "..",
            "../etc/passwd",
            "/grub/../x",
            "..\\x",
            "a/..",
            "%2e%2e/\u{e9}",
            "",
            "/",
            "\\",
            "a b",
            "a\nb",
        ] {
            assert_eq!(fold(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(fold(&[b'a'; 256]), None);
        assert_eq!(fold(&[0xc3, 0x28]), None);
    }

    #[test]
    fn e4_an_empty_file_cannot_be_in_the_table() {
        assert_eq!(
            Artefact::fixed("a.efi", Bytes::new(), "00").unwrap_err(),
            BadArtefact::Empty("a.efi".into())
        );
        let bad = Artefact::fixed("A.efi", Bytes::from_static(b"x"), "00").unwrap_err();
        assert_eq!(bad, BadArtefact::Name("A.efi".into()));
    }

    #[test]
    fn e10_programs_are_announced_as_application_efi() {
        let kind =
            |name| Artefact::fixed(name, Bytes::from_static(b"x"), "00").expect("valid").content_type();
        assert_eq!(kind("recovery.efi"), "application/efi");
        assert_eq!(kind("initrd.img"), "application/octet-stream");
        assert_eq!(kind("vmlinuz"), "application/octet-stream");
    }

    proptest! {
        #[test]
        fn folding_never_panics_and_is_idempotent(raw in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some(name) = fold(&raw) {
                prop_assert!(name.len() <= NAME_LEN_MAX && !name.contains("//") && !name.starts_with('/'));
                prop_assert_eq!(fold(name.as_bytes()), Some(name));
            }
        }
    }
}

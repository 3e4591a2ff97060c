//! How old the chain is by which an endpoint boots, as its quote shows it: which authorities `db` trusts, how much `dbx` bans, and which
//! generation of loaders SBAT still lets start.
//!
//! Read from the variables in the log of PCR 7 whose digest was recomputed from their data, and from no other. It is told, not judged: whether
//! an old chain may boot is the firmware's word and the site's.

use recovery_protocol::secure_boot::{BootAge, signature_lists};
use recovery_protocol::tpm::event_log::Variable;
use recovery_protocol::tpm::{Event, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::quote::VerifiedQuote;

/// Most authorities that are told, and the longest name of one.
const AUTHORITIES_MOST: usize = 16;
const NAME_MOST: usize = 80;

/// What a true quote tells of it; `None` where its log holds no `db`.
#[must_use]
pub fn boot_age(quote: &VerifiedQuote) -> Option<BootAge> {
    let proven: Vec<&Event> =
        quote.events(7).filter(|event| Sha256::of(&event.data) == event.digest).collect();
    let value = |name: &str| {
        let variables = proven.iter().filter_map(|event| Variable::parse(&event.data));
        variables.filter(|variable| variable.name == name).map(|variable| variable.value).next()
    };
    let db = value("db")?;
    let mut authorities: Vec<String> = signature_lists(db)
        .iter()
        .filter(|list| list.is_x509)
        .flat_map(|list| &list.entries)
        .filter_map(|der| name(der))
        .collect();
    authorities.truncate(AUTHORITIES_MOST);
    let dbx = value("dbx").unwrap_or_default();
    let banned: usize = signature_lists(dbx).iter().map(|list| list.entries.len()).sum();
    Some(BootAge {
        authorities,
        banned: u32::try_from(banned).unwrap_or(u32::MAX),
        dbx_sha256: Sha256::of(dbx).to_string(),
        sbat: value("SbatLevel").and_then(level),
    })
}

fn name(der: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.chars().filter(|c| !c.is_control()).take(NAME_MOST).collect())
}

/// The date in `sbat,1,2025021800` (shim's SBAT.md).
fn level(value: &[u8]) -> Option<String> {
    let text = str::from_utf8(value).ok()?;
    let date = text.lines().next()?.strip_prefix("sbat,1,")?;
    (date.len() == 10 && date.bytes().all(|b| b.is_ascii_digit())).then(|| date.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::paper::{Boot, PaperTpm};
    use super::*;

    #[test]
    fn a_real_boot_tells_its_authorities_its_bans_and_its_sbat_level() {
        let age = boot_age(&PaperTpm::new().verified(&Boot::golden_secure_boot())).unwrap();
        assert_eq!(age.sbat.as_deref(), Some("2025021800"));
        assert!(!age.authorities.is_empty(), "{age}");
        let plain = boot_age(&PaperTpm::new().verified(&Boot::golden_plain())).unwrap();
        assert_eq!((plain.authorities.len(), plain.banned), (0, 0), "{plain}");
    }

    #[test]
    fn what_was_not_measured_so_is_not_told() {
        let mut boot = Boot::golden_secure_boot();
        let at = boot.find(7, "SbatLevel");
        let data = &mut boot.0.events[at].data;
        let date = data.windows(10).position(|window| window == b"2025021800").unwrap();
        data[date..date + 10].copy_from_slice(b"2099010100");
        assert_eq!(boot_age(&PaperTpm::new().verified(&boot)).unwrap().sbat, None);
    }
}

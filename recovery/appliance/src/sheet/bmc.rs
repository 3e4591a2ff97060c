//! The columns that say how an endpoint is switched on and off.
//!
//! | cell `bmc` | |
//! |---|---|
//! | empty | a person |
//! | `10.8.0.21`, `10.8.0.21:623` | IPMI |
//! | `https://10.8.0.21` | Redfish |
//! | `cd+https://10.8.0.21` | Redfish, with the recovery system as a virtual CD |
//! | `wake:10.7.0.255` | a magic packet to that broadcast address |
//! | `tasmota+http://10.8.0.40/1`, `apc+snmp://10.8.0.40/1#/keys/pdu/snmp.conf` | a switched power outlet |
//! | `in-band` | the check-in agent of its running system |
//! | several of them, with blanks between | tried in this order; `person` may stand among them |

use recovery_protocol::{operator::Power, outlet::NoOutlet};

use super::Wrong;

/// In front of a broadcast address.
const WAKE: &str = "wake:";

/// In front of a Redfish address: its virtual CD.
const CD: &str = "cd+";

/// In place of an address: its own agent reboots it.
const IN_BAND: &str = "in-band";

/// In place of an address: somebody is asked.
const PERSON: &str = "person";

/// What the cells say, over what is `known`; without the column `bmc`, what is known.
pub fn power<'a>(cell: impl Fn(&str) -> Option<&'a str>, known: &Power) -> Result<Power, Wrong> {
    let Some(words) = cell("bmc") else { return Ok(known.clone()) };
    let said = |column: &str| cell(column).map_or_else(|| self::cell(known, column), str::to_owned);
    let each: Result<Vec<Power>, Wrong> = words.split_whitespace().map(|word| one(word, &said)).collect();
    Ok(Power::first_of(each?).unwrap_or_default())
}

fn one(address: &str, said: &impl Fn(&str) -> String) -> Result<Power, Wrong> {
    let wrong = |what: String, remedy: &str| Err((what, remedy.to_owned()));
    if address == PERSON {
        return Ok(Power::Person);
    }
    if address == IN_BAND {
        return Ok(Power::InBand);
    }
    if let Some(to) = address.strip_prefix(WAKE) {
        return match to.parse() {
            Ok(to) => Ok(Power::WakeOnLan { to }),
            Err(_) => wrong(format!("`{to}` is no broadcast address"), "write it as wake:10.7.0.255"),
        };
    }
    if !address.starts_with(CD) && ["+http", "+snmp"].into_iter().any(|way| address.contains(way)) {
        return match address.parse() {
            Ok(at) => Ok(Power::Outlet { at }),
            Err(error) => wrong(NoOutlet::to_string(&error), "correct it, or leave it out"),
        };
    }
    let (user, password_file) = (said("bmc_user"), said("bmc_password_file"));
    if user.is_empty() || password_file.is_empty() {
        let remedy = "fill bmc, bmc_user and bmc_password_file, or empty all three";
        return wrong("a BMC needs address, user and password file".to_owned(), remedy);
    }
    let (address, by_cd) = address.strip_prefix(CD).map_or((address, false), |address| (address, true));
    if address.starts_with("http://") {
        let what = format!("`{address}` would carry the BMC's password in the clear");
        return wrong(what, "write https://HOST");
    }
    if address.starts_with("https://") {
        let certificate = Some(said("bmc_certificate")).filter(|text| !text.is_empty());
        let hex = |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if certificate.as_ref().is_some_and(|text| !hex(text)) {
            return wrong("the BMC's certificate is no SHA-256".to_owned(), "write its 64 hex digits");
        }
        let (url, certificate_sha256) = (address.to_owned(), certificate);
        return Ok(match by_cd {
            true => Power::VirtualMedia { url, user, password_file, certificate_sha256 },
            false => Power::Redfish { url, user, password_file, certificate_sha256 },
        });
    }
    if by_cd {
        return wrong(format!("`{CD}{address}` is no address of a Redfish service"), "write cd+https://HOST");
    }
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "623"));
    match port.parse() {
        Ok(port) if !host.is_empty() => Ok(Power::Ipmi { host: host.to_owned(), port, user, password_file }),
        _ => wrong(format!("`{address}` is no BMC address"), "write host, host:port, or https://HOST"),
    }
}

/// One of these columns, as [`power`] reads it. Drivers of one endpoint share the BMC that the other columns are about.
pub fn cell(power: &Power, column: &str) -> String {
    match (power, column) {
        (Power::Several { of }, "bmc") => {
            let words = of
                .iter()
                .map(|one| if *one == Power::Person { PERSON.to_owned() } else { cell(one, column) });
            words.collect::<Vec<_>>().join(" ")
        }
        (Power::Several { of }, _) => {
            of.iter().map(|one| cell(one, column)).find(|text| !text.is_empty()).unwrap_or_default()
        }
        (Power::Ipmi { host, port, .. }, "bmc") => format!("{host}:{port}"),
        (Power::Redfish { url, .. }, "bmc") => url.clone(),
        (Power::VirtualMedia { url, .. }, "bmc") => format!("{CD}{url}"),
        (Power::InBand, "bmc") => IN_BAND.to_owned(),
        (Power::WakeOnLan { to }, "bmc") => format!("{WAKE}{to}"),
        (Power::Outlet { at }, "bmc") => at.to_string(),
        (
            Power::Ipmi { user, .. } | Power::Redfish { user, .. } | Power::VirtualMedia { user, .. },
            "bmc_user",
        ) => user.clone(),
        (
            Power::Ipmi { password_file, .. }
            | Power::Redfish { password_file, .. }
            | Power::VirtualMedia { password_file, .. },
            "bmc_password_file",
        ) => password_file.clone(),
        (
            Power::Redfish { certificate_sha256, .. } | Power::VirtualMedia { certificate_sha256, .. },
            "bmc_certificate",
        ) => certificate_sha256.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

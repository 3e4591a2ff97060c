//! The flags that say how an endpoint is switched on and off. Of several the best is tried first: its own agent, Redfish, its virtual CD, IPMI, the outlet, a magic packet.

use std::net::Ipv4Addr;

use clap::Args;
use recovery_protocol::{operator::Power, outlet::Outlet};

use super::fault::{Code, Fault};

/// A BMC, a magic packet, or nothing: a person.
#[derive(Debug, Args)]
pub struct PowerArgs {
    /// BMC that switches it on and off: host, or host:port (IPMI 2.0)
    #[arg(long, requires_all = ["bmc_user", "bmc_password_file"])]
    ipmi: Option<String>,
    /// BMC that switches it on and off: https://HOST, with the system's path where it has several (Redfish)
    #[arg(long, value_name = "URL", requires_all = ["bmc_user", "bmc_password_file"])]
    redfish: Option<String>,
    /// BMC that shows it the recovery system as a CD, where network boot failed or cannot be: https://HOST (Redfish; the boot kit needs
    /// `groundstate-bootkit stick`)
    #[arg(long, value_name = "URL", requires_all = ["bmc_user", "bmc_password_file"])]
    virtual_media: Option<String>,
    /// User of the BMC
    #[arg(long, alias = "ipmi-user")]
    bmc_user: Option<String>,
    /// File on the appliance with the BMC's password
    #[arg(long, alias = "ipmi-password-file")]
    bmc_password_file: Option<String>,
    /// SHA-256 of the certificate that the BMC made for itself
    #[arg(long, value_name = "SHA256")]
    bmc_certificate: Option<String>,
    /// It has no BMC and wakes by a magic packet: broadcast address of its network
    #[arg(long, value_name = "ADDRESS")]
    wake_on_lan: Option<Ipv4Addr>,
    /// The check-in agent of its running system reboots it into the network, once that has proven itself; else the next way is taken
    #[arg(long)]
    in_band: bool,
    /// Switched power outlet: tasmota+http://HOST/1, shelly+http://HOST/0 or netio+http://HOST/1, with USER@ and #PASSWORD_FILE; over SNMP
    /// apc+snmp://HOST/1#DIR/snmp.conf or raritan+snmp://HOST/1#DIR/snmp.conf
    #[arg(long, value_name = "WORD")]
    outlet: Option<Outlet>,
}

impl PowerArgs {
    /// As REST takes it; `None`: nothing was said of it.
    ///
    /// # Errors
    /// Usage, when the BMC's address or certificate is none.
    pub(super) fn into_power(self) -> Result<Option<Power>, Fault> {
        // Gentle, and soon told: what does not run does not come.
        let mut each: Vec<Power> = self.in_band.then_some(Power::InBand).into_iter().collect();
        let pin = self.bmc_certificate.as_deref().map(digest).transpose()?;
        if pin.is_some() && self.redfish.is_none() && self.virtual_media.is_none() {
            let now = "name it with --redfish https://HOST or --virtual-media https://HOST";
            return Err(wrong("a BMC's certificate is named, and no BMC".to_owned(), now));
        }
        if let Some((user, password_file)) = self.bmc_user.zip(self.bmc_password_file) {
            for (url, by_cd) in [(self.redfish, false), (self.virtual_media, true)] {
                let Some(url) = url else { continue };
                if !url.starts_with("https://") {
                    let now = "write https://HOST: the BMC's password must not be sent in the clear";
                    return Err(wrong(format!("`{url}` is no address of a Redfish service"), now));
                }
                let (user, password_file) = (user.clone(), password_file.clone());
                let certificate_sha256 = pin.clone();
                each.push(match by_cd {
                    true => Power::VirtualMedia { url, user, password_file, certificate_sha256 },
                    false => Power::Redfish { url, user, password_file, certificate_sha256 },
                });
            }
            if let Some(address) = &self.ipmi {
                let (host, port) = address.rsplit_once(':').unwrap_or((address, "623"));
                let port = port.parse().map_err(|_| {
                    wrong(format!("`{address}` is no BMC address"), "write host or host:port")
                })?;
                each.push(Power::Ipmi { host: host.to_owned(), port, user, password_file });
            }
            if each.iter().all(|power| *power == Power::InBand) {
                return Err(wrong(
                    "a BMC's user is named, and no BMC".to_owned(),
                    "name it with --redfish https://HOST or --ipmi HOST",
                ));
            }
        }
        each.extend(self.outlet.map(|at| Power::Outlet { at }));
        each.extend(self.wake_on_lan.map(|to| Power::WakeOnLan { to }));
        Ok(Power::first_of(each))
    }
}

/// As openssl prints it (pairs with colons), or plain hex.
fn digest(text: &str) -> Result<String, Fault> {
    let hex = text.replace(':', "").to_ascii_lowercase();
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(hex);
    }
    Err(wrong(format!("`{text}` is no SHA-256"), "write its 64 hex digits"))
}

fn wrong(what: String, now: &str) -> Fault {
    Fault::new(Code::Usage, what, "", now)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        power: PowerArgs,
    }

    fn parse(words: &str) -> Result<Option<Power>, String> {
        let line = Line::try_parse_from(["x"].into_iter().chain(words.split_whitespace()));
        line.map_err(|error| error.to_string())?.power.into_power().map_err(|fault| format!("{fault:?}"))
    }

    const LOGIN: &str = "--bmc-user gs --bmc-password-file /keys/bmc";

    #[test]
    fn every_driver_has_its_words() {
        assert_eq!(parse(""), Ok(None));
        assert_eq!(
            parse("--wake-on-lan 10.7.0.255"),
            Ok(Some(Power::WakeOnLan { to: [10, 7, 0, 255].into() }))
        );
        let ipmi = parse("--ipmi 10.7.0.9 --ipmi-user gs --ipmi-password-file /keys/bmc").unwrap();
        assert!(matches!(ipmi, Some(Power::Ipmi { port: 623, .. })));
        let pin = "AB:".repeat(31) + "AB";
        let redfish = parse(&format!("--redfish https://10.7.0.9 --bmc-certificate {pin} {LOGIN}")).unwrap();
        let Some(Power::Redfish { url, certificate_sha256: Some(certificate), .. }) = redfish else {
            panic!("{redfish:?}")
        };
        assert_eq!((url.as_str(), certificate), ("https://10.7.0.9", "ab".repeat(32)));
    }

    #[test]
    fn of_several_the_best_is_tried_first() {
        let words = format!(
            "--in-band --wake-on-lan 10.7.0.255 --outlet shelly+http://10.8.0.40/0 --ipmi 10.7.0.9 --virtual-media https://10.7.0.9 \
             --redfish https://10.7.0.9 {LOGIN}"
        );
        let told = format!("{:?}", parse(&words).unwrap().unwrap());
        let expected = "in-band, then redfish https://10.7.0.9, then virtual CD https://10.7.0.9, then ipmi 10.7.0.9:623, then outlet shelly+http://10.8.0.40/0, then wake-on-lan 10.7.0.255";
        assert_eq!(told, expected);
        assert!(matches!(parse("--outlet netio+http://10.8.0.40/1"), Ok(Some(Power::Outlet { .. }))));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for wrong in [
            format!("--redfish http://10.7.0.9 {LOGIN}"),
            format!("--redfish https://10.7.0.9 --bmc-certificate abc {LOGIN}"),
            format!("--ipmi 10.7.0.9:x {LOGIN}"),
            format!("--virtual-media http://10.7.0.9 {LOGIN}"),
            "--virtual-media https://10.7.0.9".to_owned(),
            "--outlet http://10.8.0.40/1".to_owned(),
            "--redfish https://10.7.0.9".to_owned(),
            "--bmc-certificate ab".to_owned(),
            LOGIN.to_owned(),
        ] {
            assert!(parse(&wrong).is_err(), "{wrong}");
        }
    }
}

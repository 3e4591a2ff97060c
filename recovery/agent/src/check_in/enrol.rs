//! A certificate for a key that never leaves the TPM, over EST (RFC 7030): one request, authorised by the one-time secret
//! that the proof earned.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, PublicKeyData as _};
use recovery_protocol::agent::EnrolOrder;

use super::certs_only::{self, Certificate};
use crate::client::{Appliance, EstAnswer};
use crate::screen::Screen;
use crate::tpm::{CsrKey, Key, Tpm};

/// Columns of base64: libest refuses an unwrapped request, every server accepts a wrapped one.
const COLUMNS: usize = 64;

/// How long a certificate is waited for with one secret, which lives for ten minutes; after that a new check-in earns a new one.
const WAIT_MAX: Duration = Duration::from_secs(540);
/// Longest pause between two requests.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A certificate for our key.
#[derive(Debug, PartialEq, Eq)]
pub struct Issued {
    /// Serial number, lower-case hex.
    pub serial: String,
    /// Our certificate, then the others that came along.
    pub pem: String,
}

/// Asks for a certificate for `key`, again while whoever issues says "later".
pub fn enrol(
    screen: &Screen,
    appliance: &Appliance,
    tpm: &mut Tpm,
    key: &Key,
    order: &EnrolOrder,
) -> Result<Issued> {
    let key = CsrKey::new(tpm, key);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, &order.common_name);
    let request = params.serialize_request(&key).context("the TPM did not sign the certificate request")?;
    let authorization = format!("Basic {}", STANDARD.encode(format!("{}:{}", order.user, order.password)));
    let (request, mut waited) = (wrapped(request.der()), Duration::ZERO);
    loop {
        match appliance.est(&order.path, &authorization, &request)? {
            EstAnswer::Certificates(answer) => return issued(&answer, &key.subject_public_key_info()),
            EstAnswer::Later { why, .. } if waited >= WAIT_MAX => {
                bail!("no certificate yet ({why}); the next check-in asks again");
            }
            EstAnswer::Later { after, why } => {
                screen.say(format!("the certificate comes later: {why}"));
                let pause = after.clamp(Duration::from_secs(1), PAUSE_MAX);
                sleep(pause);
                waited += pause;
            }
        }
    }
}

/// The certificate for the key `spki` in an EST answer.
fn issued(answer: &str, spki: &[u8]) -> Result<Issued> {
    let text: String = answer.split_whitespace().collect();
    let cms = STANDARD.decode(text).context("the EST answer is not base64")?;
    let mut certificates = certs_only::parse(&cms).context("the EST answer is not a certs-only message")?;
    let ours = certificates.iter().position(|certificate| certificate.spki == spki);
    certificates.swap(0, ours.context("the EST answer holds no certificate for our key")?);
    Ok(Issued { serial: hex::encode(certificates[0].serial), pem: certificates.iter().map(pem).collect() })
}

fn pem(certificate: &Certificate<'_>) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", wrapped(certificate.der))
}

fn wrapped(bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut lines = String::with_capacity(text.len() + text.len() / COLUMNS + 1);
    for (at, character) in text.chars().enumerate() {
        if at > 0 && at % COLUMNS == 0 {
            lines.push('\n');
        }
        lines.push(character);
    }
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use rcgen::{CertificateSigningRequestParams, Issuer, KeyPair, SerialNumber};
    use recovery_protocol::Problem;

    use super::*;
    use crate::client::SpkiPin;
    use crate::testing::serve_tls;
    use crate::tpm::swtpm::SwTpm;

    #[test]
    fn base64_is_wrapped_as_every_server_takes_it() {
        let text = wrapped(&[0xff; 100]);
        assert!(text.lines().all(|line| line.len() <= 64) && text.ends_with('\n'));
        let joined: String = text.split_whitespace().collect();
        assert_eq!(STANDARD.decode(joined).unwrap(), [0xff; 100]);
    }

    /// An EST server that knows one secret and issues what it is asked for.
    fn est_server() -> (SocketAddr, SpkiPin) {
        let asked = std::sync::atomic::AtomicU32::new(0);
        let ca_key = KeyPair::generate().unwrap();
        let issuer = Issuer::new(CertificateParams::default(), ca_key);
        serve_tls(move |request| {
            if request.authorization != format!("Basic {}", STANDARD.encode("press-01:once")) {
                let problem = Problem::new(401, "unauthenticated", "No", "wrong secret", "check in again");
                return (401, serde_json::to_vec(&problem).unwrap());
            }
            // Somebody has to decide first; the right request is made once more.
            if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
                return (202, b"somebody decides".to_vec());
            }
            let text: String = String::from_utf8(request.body).unwrap().split_whitespace().collect();
            let der = STANDARD.decode(text).unwrap();
            // Reading the request checks its signature: the TPM made it.
            let mut request = CertificateSigningRequestParams::from_der(&der.into()).unwrap();
            request.params.serial_number = Some(SerialNumber::from_slice(&[0x0a, 0xbc]));
            let certificate = request.signed_by(&issuer).unwrap();
            (200, STANDARD.encode(certs_only::tests::certs_only(certificate.der())).into_bytes())
        })
    }

    fn order(password: &str) -> EnrolOrder {
        EnrolOrder {
            job: recovery_protocol::JobId::new(1, [1; 10]),
            path: "/.well-known/est/simpleenroll".to_owned(),
            user: "press-01".to_owned(),
            password: password.to_owned(),
            common_name: "press-01".to_owned(),
        }
    }

    #[test]
    fn a_key_in_the_tpm_gets_its_certificate_with_the_right_secret_only() {
        let machine = SwTpm::start();
        let mut tpm = machine.tpm();
        let key = tpm.tls_key(&[7; 32]).unwrap();
        let (address, pin) = est_server();
        let appliance = Appliance::new(address, pin).unwrap();
        let screen = Screen::standard_error("enrolment");
        let issued = enrol(&screen, &appliance, &mut tpm, &key, &order("once")).unwrap();
        assert_eq!(issued.serial, "0abc");
        assert!(issued.pem.starts_with("-----BEGIN CERTIFICATE-----\n"));
        let refused = enrol(&screen, &appliance, &mut tpm, &key, &order("twice")).unwrap_err();
        assert!(refused.to_string().contains("wrong secret"), "{refused}");
    }

    #[test]
    fn an_answer_without_our_key_is_refused() {
        let error = issued("bm9uc2Vuc2U=", b"spki").unwrap_err().to_string();
        assert_eq!(error, "the EST answer is not a certs-only message");
        assert!(issued("***", b"spki").unwrap_err().to_string().contains("base64"));
    }
}

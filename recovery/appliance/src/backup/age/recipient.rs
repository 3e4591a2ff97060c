//! A file for whoever holds a private key, in the age format: recipients `age1…` (X25519; C2SP `age`, "The X25519 recipient type").
//!
//! It must never: know a private key. Whoever receives opens with `age --decrypt -i`.

use std::{fmt, io::Write, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ring::{
    aead::{Aad, Nonce},
    agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral},
    rand::SystemRandom,
};
use zeroize::Zeroizing;

use super::{AgeError, Sealed, cipher, derive};
use crate::keys::random;

const LABEL: &[u8] = b"age-encryption.org/v1/X25519";
const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// A public key, as `age-keygen` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

/// Why a text is no recipient.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no recipient of age; copy the line `age1…` that `age-keygen` printed")]
pub struct NoRecipient(String);

impl FromStr for Recipient {
    type Err = NoRecipient;

    fn from_str(text: &str) -> Result<Self, NoRecipient> {
        decoded(text.trim()).map(Self).ok_or_else(|| NoRecipient(text.to_owned()))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "recipient {}…", hex::encode(&self.0[..4]))
    }
}

/// Bech32 (BIP 173) with the prefix `age`, without its limit of length.
fn decoded(text: &str) -> Option<[u8; 32]> {
    let text = if text.chars().any(char::is_lowercase) { text.to_owned() } else { text.to_lowercase() };
    let values = text.strip_prefix("age1")?.bytes();
    let values: Vec<u8> = values
        .map(|byte| LETTERS.iter().position(|letter| *letter == byte).and_then(|at| u8::try_from(at).ok()))
        .collect::<Option<_>>()?;
    // The prefix spread out (BIP 173), then the values with their checksum.
    let prefix = [3, 3, 3, 0, b'a' & 31, b'g' & 31, b'e' & 31];
    if polymod(prefix.into_iter().chain(values.iter().copied())) != 1 || values.len() < 6 {
        return None;
    }
    let (mut bits, mut held, mut bytes) = (0_u32, 0_u32, Vec::with_capacity(32));
    for value in &values[..values.len() - 6] {
        held = (held << 5) | u32::from(*value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
            held &= (1 << bits) - 1;
        }
    }
    if held != 0 || bits >= 5 { None } else { bytes.try_into().ok() }
}

fn polymod(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum, value| {
        let top = sum >> 25;
        let mut sum = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        for (bit, with) in GENERATOR.iter().enumerate() {
            if (top >> bit) & 1 == 1 {
                sum ^= with;
            }
        }
        sum
    })
}

impl<W: Write> Sealed<W> {
    /// Write the head of a file that each of these can open.
    ///
    /// # Errors
    /// [`AgeError`].
    pub fn to(out: W, recipients: &[Recipient]) -> Result<Self, AgeError> {
        let file_key = Zeroizing::new(random::<16>()?);
        let stanzas: String = recipients
            .iter()
            .map(|recipient| stanza(recipient, file_key.as_slice()))
            .collect::<Result<_, _>>()?;
        Self::behind(out, &stanzas, &file_key)
    }
}

/// The file key, sealed for one of them.
fn stanza(recipient: &Recipient, file_key: &[u8]) -> Result<String, AgeError> {
    let failed = |_| AgeError::Recipient;
    let own = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(failed)?;
    let public = own.compute_public_key().map_err(failed)?;
    let salt = [public.as_ref(), &recipient.0].concat();
    // A key of low order gives nothing secret: the agreement refuses it.
    let key = agree_ephemeral(own, &UnparsedPublicKey::new(&X25519, recipient.0), |shared| {
        derive(shared, &salt, LABEL)
    })
    .map_err(failed)?;
    let mut body = file_key.to_vec();
    cipher(&key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut body)
        .map_err(|_| AgeError::Altered)?;
    let b64 = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
    Ok(format!("-> X25519 {}\n{}\n", b64(public.as_ref()), b64(&body)))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;

    /// A key of the program that everybody has: its file and its public half.
    pub fn key(dir: &Path, name: &str) -> (String, Recipient) {
        let file = dir.join(name).display().to_string();
        let made = Command::new("age-keygen").args(["-o", &file]).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let text = fs::read_to_string(&file).unwrap();
        let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
        (file, public.parse().unwrap())
    }

    #[test]
    fn age_opens_it_with_the_key_of_each_and_with_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (anna, annas) = key(dir.path(), "anna");
        let (tom, toms) = key(dir.path(), "tom");
        let (eve, _) = key(dir.path(), "eve");
        let plain: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let mut sealed = Sealed::to(Vec::new(), &[annas, toms]).unwrap();
        sealed.write_all(&plain).unwrap();
        fs::write(dir.path().join("x.age"), sealed.finish().unwrap()).unwrap();
        for (key, opens) in [(&anna, true), (&tom, true), (&eve, false)] {
            let opened = Command::new("age")
                .args(["--decrypt", "-i", key])
                .arg(dir.path().join("x.age"))
                .output()
                .unwrap();
            assert_eq!(opened.status.success(), opens, "{key}: {}", String::from_utf8_lossy(&opened.stderr));
            assert!(!opens || opened.stdout == plain);
        }
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (file, _) = key(dir.path(), "k");
        let text = fs::read_to_string(file).unwrap();
        let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap().to_owned();
        let secret = text.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
        assert!(public.to_uppercase().parse::<Recipient>().is_ok());
        let mut wrong = public.clone().into_bytes();
        wrong[10] = if wrong[10] == b'q' { b'p' } else { b'q' };
        for text in ["", "age1", "age1qqqqqq", &public[..20], secret, &String::from_utf8(wrong).unwrap()] {
            assert!(text.parse::<Recipient>().is_err(), "{text}");
        }
    }
}

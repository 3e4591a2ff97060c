//! `groundstate image key token`: keys that never leave a token (HSM, smart card), spoken to by PKCS #11.
//!
//! The key file then holds no secret: it names the vendor's library, the token and the key, and the public half. Every
//! command that takes a key file takes this one, and asks for the token's PIN instead of a passphrase. The vendor's
//! library runs in this process, so it is loaded on the signer's computer only, never by the appliance's daemon.

use std::path::PathBuf;

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    mechanism::{
        Mechanism,
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
};
use images::{
    KeyFile, PublicKey, Role, SigningKey,
    keys::{TokenKey, TokenPlace},
};

use super::{secret, write_new};
use crate::chain::chain;
use crate::cli::fault::{Code, Fault};

/// Ed25519 as an object identifier in DER: 1.3.101.112 (RFC 8410, section 3).
const ED25519_OID: [u8; 5] = [0x06, 0x03, 0x2b, 0x65, 0x70];

/// A key on a token.
#[derive(Debug, clap::Args)]
pub struct OnToken {
    /// What it signs
    #[arg(long, value_enum)]
    pub role: crate::cli::args::RoleWord,
    /// Whose it is
    #[arg(long)]
    pub name: String,
    /// Library of the token's vendor
    #[arg(long, value_name = "FILE")]
    pub module: PathBuf,
    /// Label of the token
    #[arg(long)]
    pub token: String,
    /// Label of the key on it
    #[arg(long)]
    pub label: String,
    /// Make the key there; default: it is there already
    #[arg(long)]
    pub generate: bool,
    /// Key file to write; it holds no secret
    #[arg(long)]
    pub out: PathBuf,
    /// File with the token's PIN; default: asked for
    #[arg(long, value_name = "FILE")]
    pub pin_file: Option<PathBuf>,
}

/// Why a token gives no key.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The vendor's library cannot be used.
    #[error("{} cannot be used as a PKCS #11 library; give the file that the token's vendor names", module.display())]
    Library {
        /// Its file.
        module: PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
    /// No such token.
    #[error("no token `{wanted}` is plugged in; there is: {found}")]
    NoToken {
        /// The label asked for.
        wanted: String,
        /// The labels there are.
        found: String,
    },
    /// Several tokens of one label.
    #[error("{count} tokens are labelled `{wanted}`; unplug the others")]
    SeveralTokens {
        /// The label asked for.
        wanted: String,
        /// How many.
        count: usize,
    },
    /// Wrong PIN.
    #[error("the token refuses the PIN; after a few wrong ones it locks itself")]
    Pin,
    /// Locked after too many wrong PINs.
    #[error("the token is locked after too many wrong PINs; its security officer unlocks it")]
    Locked,
    /// No such key, or several.
    #[error(
        "the token has {count} Ed25519 {what} labelled `{label}`, and one is needed; list them with `pkcs11-tool --list-objects`"
    )]
    NotOneKey {
        /// Which half.
        what: &'static str,
        /// Their label.
        label: String,
        /// How many.
        count: usize,
    },
    /// The label is taken.
    #[error(
        "the token has a key labelled `{label}` already; leave out --generate to use it, or choose another label"
    )]
    LabelTaken {
        /// The label.
        label: String,
    },
    /// The public half is no point that Ed25519 knows.
    #[error("the token does not tell the key's public half as Ed25519 has it")]
    NoPoint,
    /// Anything else.
    #[error("the token cannot {action}")]
    Refused {
        /// What was asked.
        action: &'static str,
        /// Why not.
        #[source]
        source: Error,
    },
}

fn refused(action: &'static str) -> impl FnOnce(Error) -> TokenError {
    move |source| TokenError::Refused { action, source }
}

/// A token that is logged in to.
struct Token {
    session: Session,
}

impl Token {
    fn open(place: &TokenPlace, pin: &str, may_write: bool) -> Result<Self, TokenError> {
        let module = || place.module.clone();
        let context =
            Pkcs11::new(&place.module).map_err(|source| TokenError::Library { module: module(), source })?;
        context
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(|source| TokenError::Library { module: module(), source })?;
        let slot = slot(&context, &place.token)?;
        let session = match may_write {
            true => context.open_rw_session(slot),
            false => context.open_ro_session(slot),
        };
        let session = session.map_err(refused("open a session"))?;
        let login = session.login(UserType::User, Some(&pin.to_owned().into()));
        login.map_err(|error| match error {
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _) => {
                TokenError::Pin
            }
            Error::Pkcs11(RvError::PinLocked, _) => TokenError::Locked,
            source => TokenError::Refused { action: "be logged in to", source },
        })?;
        Ok(Self { session })
    }

    fn find(&self, class: ObjectClass, label: &str) -> Result<Vec<ObjectHandle>, TokenError> {
        let template = [
            Attribute::Class(class),
            Attribute::KeyType(KeyType::EC_EDWARDS),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        self.session.find_objects(&template).map_err(refused("be searched"))
    }

    fn find_one(&self, class: ObjectClass, label: &str) -> Result<ObjectHandle, TokenError> {
        let what = if class == ObjectClass::PRIVATE_KEY { "private keys" } else { "public keys" };
        match self.find(class, label)?.as_slice() {
            [one] => Ok(*one),
            found => Err(TokenError::NotOneKey { what, label: label.to_owned(), count: found.len() }),
        }
    }

    fn public(&self, label: &str) -> Result<PublicKey, TokenError> {
        let handle = self.find_one(ObjectClass::PUBLIC_KEY, label)?;
        let attributes = self.session.get_attributes(handle, &[AttributeType::EcPoint]);
        for attribute in attributes.map_err(refused("tell the public key"))? {
            if let Attribute::EcPoint(point) = attribute {
                return point_bytes(&point).map(PublicKey::from_bytes).ok_or(TokenError::NoPoint);
            }
        }
        Err(TokenError::NoPoint)
    }

    fn generate(&self, label: &str) -> Result<(), TokenError> {
        if !self.find(ObjectClass::PRIVATE_KEY, label)?.is_empty() {
            return Err(TokenError::LabelTaken { label: label.to_owned() });
        }
        let label = Attribute::Label(label.as_bytes().to_vec());
        let public = [
            Attribute::Token(true),
            Attribute::Verify(true),
            Attribute::EcParams(ED25519_OID.to_vec()),
            label.clone(),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            label,
        ];
        let made = self.session.generate_key_pair(&Mechanism::EccEdwardsKeyPairGen, &public, &private);
        made.map(drop).map_err(refused("make an Ed25519 key"))
    }
}

/// The one slot whose token has this label.
fn slot(context: &Pkcs11, label: &str) -> Result<Slot, TokenError> {
    let (mut fits, mut labels) = (Vec::new(), Vec::new());
    for slot in context.get_slots_with_token().map_err(refused("list its slots"))? {
        let info = context.get_token_info(slot).map_err(refused("say what it is"))?;
        if info.label() == label {
            fits.push(slot);
        }
        labels.push(format!("`{}`", info.label()));
    }
    match fits.as_slice() {
        [one] => Ok(*one),
        [] => Err(TokenError::NoToken { wanted: label.to_owned(), found: labels.join(", ") }),
        several => Err(TokenError::SeveralTokens { wanted: label.to_owned(), count: several.len() }),
    }
}

/// The 32 bytes of an Ed25519 point: as they are, or in a DER octet string. Both are found on tokens (PKCS #11 3.1, section
/// 6.3.5, wants them as they are; 2.40 wanted the octet string).
fn point_bytes(point: &[u8]) -> Option<[u8; 32]> {
    match point {
        [0x04, 0x20, rest @ ..] => rest.try_into().ok(),
        plain => plain.try_into().ok(),
    }
}

/// A private key on a token that is logged in to.
struct KeyOnToken {
    token: Token,
    handle: ObjectHandle,
}

impl TokenKey for KeyOnToken {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mechanism = Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519));
        Ok(self.token.session.sign(&mechanism, self.handle, message)?)
    }
}

/// The key that a key file's token holds.
pub fn unlock(public: PublicKey, place: &TokenPlace, pin: &str) -> Result<SigningKey, TokenError> {
    let token = Token::open(place, pin, false)?;
    let handle = token.find_one(ObjectClass::PRIVATE_KEY, &place.label)?;
    Ok(SigningKey::on_token(public, Box::new(KeyOnToken { token, handle })))
}

/// Write the key file of a key that a token holds, or makes now.
pub fn key_on_token(role: Role, order: &OnToken) -> Result<(), Fault> {
    let place =
        TokenPlace { module: order.module.clone(), token: order.token.clone(), label: order.label.clone() };
    let pin = secret(&format!("PIN of the token {}: ", place.token), order.pin_file.as_deref())?;
    let file = public_half(&place, &pin, order.generate)
        .map(|public| KeyFile::on_token(public, role, &order.name, place))
        .map_err(|error| fault(&error))?;
    write_new(&order.out, 0o600, file.to_json().as_bytes())?;
    eprintln!("wrote {}: it names the key, the token keeps it", order.out.display());
    println!("{}", serde_json::json!(file.public_file()));
    Ok(())
}

fn public_half(place: &TokenPlace, pin: &str, generate: bool) -> Result<PublicKey, TokenError> {
    let token = Token::open(place, pin, generate)?;
    if generate {
        token.generate(&place.label)?;
    }
    token.find_one(ObjectClass::PRIVATE_KEY, &place.label)?;
    token.public(&place.label)
}

/// A token's refusal, for a person.
pub fn fault(error: &TokenError) -> Fault {
    let code = match error {
        TokenError::Pin | TokenError::Locked => Code::Forbidden,
        TokenError::NoToken { .. } | TokenError::NotOneKey { .. } => Code::NotFound,
        TokenError::Library { .. }
        | TokenError::SeveralTokens { .. }
        | TokenError::LabelTaken { .. }
        | TokenError::NoPoint
        | TokenError::Refused { .. } => Code::Failed,
    };
    Fault::new(code, "the token gave no key", chain(error), "plug in the right token and try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_in_both_its_forms_and_in_no_other() {
        let plain = [7; 32];
        let wrapped = [&[0x04, 0x20][..], &plain].concat();
        assert_eq!(point_bytes(&plain), Some(plain));
        assert_eq!(point_bytes(&wrapped), Some(plain));
        // An uncompressed point of another curve, a truncated one, none.
        for bad in [&[4; 65][..], &wrapped[..33], &[]] {
            assert_eq!(point_bytes(bad), None);
        }
    }
}

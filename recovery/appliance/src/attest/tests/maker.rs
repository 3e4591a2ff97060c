//! Who vouches for a TPM: made-up makers with real certificates, and each way in which a certificate does not count. With
//! certificates of a maker that is not ours (swtpm's): `peers`.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SubjectPublicKeyInfo,
};
use recovery_protocol::operator::{EkCertificate, TpmModel};
use recovery_protocol::tpm::EccPublic;

use super::super::maker::{MakerError, MakerRoots, RootError, maker_of};
use super::super::*;
use super::paper::PaperTpm;

/// Whoever signs certificates.
pub struct Maker {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str, below: Option<u8>) -> CertificateParams {
    let constraints = below.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
    let mut params = named(name);
    params.is_ca = IsCa::Ca(constraints);
    params
}

impl Maker {
    pub fn new(name: &str) -> Self {
        let (params, key) = (authority(name, None), KeyPair::generate().unwrap());
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// Another maker whose certificate this one signed.
    fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// A certificate for this key, DER.
    fn certify(&self, spki: &[u8], params: CertificateParams) -> Vec<u8> {
        let key = SubjectPublicKeyInfo::from_der(spki).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }

    /// An EK certificate.
    pub fn vouch(&self, spki: &[u8]) -> Vec<u8> {
        self.certify(spki, ek_params())
    }
}

fn ek_params() -> CertificateParams {
    let purpose = ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1]);
    let mut params = named("TPM 4711");
    params.extended_key_usages = vec![purpose];
    params
}

fn roots(makers: &[&Maker]) -> MakerRoots {
    let mut roots = MakerRoots::default();
    for maker in makers {
        assert_eq!(roots.add(maker.der()), Ok(1));
    }
    roots
}

fn ek() -> (EccPublic, EkPublic) {
    let ek = EccPublic { unique: PaperTpm::new().ak.unique, ..EccPublic::ek_template() };
    (ek.clone(), EkPublic::parse(&ek.to_bytes()).unwrap())
}

fn verified(said: Result<EkCertificate, MakerError>) -> Option<String> {
    match said.unwrap() {
        EkCertificate::Verified { root, .. } => Some(root),
        EkCertificate::RootUnknown { issuer, .. } => {
            assert!(!issuer.is_empty());
            None
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_certificate_counts_when_it_leads_to_a_root_of_ours() {
    let (public, ek) = ek();
    let maker = Maker::new("Maker Root");
    let (middle, other) = (maker.below(authority("Maker 7", Some(0))), Maker::new("Another"));
    let direct = maker.vouch(&public.spki_der());
    let root = Some("CN=Maker Root".to_owned());
    assert_eq!(verified(maker_of(&ek.spki_der(), Some(&direct), &[], &roots(&[&other, &maker]))), root);
    assert_eq!(verified(maker_of(&ek.spki_der(), Some(&direct), &[], &roots(&[&other]))), None);
    assert_eq!(verified(maker_of(&ek.spki_der(), Some(&direct), &[], &roots(&[]))), None);
    // NV indices are larger than what they hold.
    let padded = [&direct[..], &[0xff; 64]].concat();
    assert_eq!(verified(maker_of(&ek.spki_der(), Some(&padded), &[], &roots(&[&maker]))), root);

    let indirect = middle.vouch(&public.spki_der());
    assert_eq!(
        verified(maker_of(&ek.spki_der(), Some(&indirect), &[], &roots(&[&maker]))),
        None,
        "the issuer is missing"
    );
    let chain = [other.der(), middle.der(), b"padding"].concat();
    assert_eq!(verified(maker_of(&ek.spki_der(), Some(&indirect), &chain, &roots(&[&maker]))), root);
    let pinned = verified(maker_of(&ek.spki_der(), Some(&indirect), &[], &roots(&[&middle])));
    assert_eq!(pinned.as_deref(), Some("CN=Maker 7"), "an issuer may be trusted as it is");
}

#[test]
fn whoever_is_no_authority_vouches_for_nobody() {
    let (public, ek) = ek();
    let maker = Maker::new("Maker Root");
    let trusted = roots(&[&maker]);
    // The owner of another TPM of this maker, or of an authority that may sign no other authority.
    let owner = maker.below(ek_params());
    let forged = owner.vouch(&public.spki_der());
    assert_eq!(verified(maker_of(&ek.spki_der(), Some(&forged), owner.der(), &trusted)), None);
    let last = maker.below(authority("Maker 7", Some(0)));
    let beyond = last.below(authority("Maker 7.1", None));
    let chain = [last.der(), beyond.der()].concat();
    assert_eq!(
        verified(maker_of(&ek.spki_der(), Some(&beyond.vouch(&public.spki_der())), &chain, &trusted)),
        None
    );
    // A root of the same name with another key.
    let twin = Maker::new("Maker Root");
    assert_eq!(
        verified(maker_of(&ek.spki_der(), Some(&twin.vouch(&public.spki_der())), twin.der(), &trusted)),
        None
    );
    // A demand on its use that we do not understand.
    let mut strange = authority("Strange", None);
    let mut demand = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    demand.set_criticality(true);
    strange.custom_extensions = vec![demand];
    let strange = maker.below(strange);
    assert_eq!(
        verified(maker_of(&ek.spki_der(), Some(&strange.vouch(&public.spki_der())), strange.der(), &trusted)),
        None
    );
}

#[test]
fn issuers_that_sign_each_other_come_to_an_end() {
    let (public, ek) = ek();
    let params = authority("Loop", None);
    let makers: Vec<Maker> = (0..20)
        .map(|_| {
            let key = KeyPair::generate().unwrap();
            Maker { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params.clone(), key) }
        })
        .collect();
    let chain: Vec<u8> = makers.iter().flat_map(|maker| maker.der().to_vec()).collect();
    assert_eq!(
        verified(maker_of(&ek.spki_der(), Some(&makers[0].vouch(&public.spki_der())), &chain, &roots(&[]))),
        None
    );
}

#[test]
fn a_certificate_of_another_key_or_of_no_ek_is_refused_by_name() {
    let ((public, ek), (other, _)) = (ek(), self::ek());
    let maker = Maker::new("Maker Root");
    let trusted = roots(&[&maker]);
    let copied = maker_of(&ek.spki_der(), Some(&maker.vouch(&other.spki_der())), &[], &trusted).unwrap_err();
    assert!(matches!(&copied, MakerError::OtherKey { subject } if subject.contains("TPM 4711")), "{copied}");
    let spki = public.spki_der();
    let mut both = ek_params();
    both.is_ca = authority("", None).is_ca;
    for (params, lacks) in [(named("a platform"), "tcg-kp-EKCertificate"), (both, "authority")] {
        let refused =
            maker_of(&ek.spki_der(), Some(&maker.certify(&spki, params)), &[], &trusted).unwrap_err();
        assert!(
            matches!(&refused, MakerError::NoEkCertificate { why, .. } if why.contains(lacks)),
            "{refused}"
        );
    }
}

#[test]
fn none_and_an_unreadable_one_are_told_apart() {
    let (_, ek) = ek();
    assert_eq!(maker_of(&ek.spki_der(), None, b"junk", &roots(&[])), Ok(EkCertificate::Absent));
    for junk in [&b""[..], b"\x30\x82\xff\xff", &[0xff; 1000]] {
        let said = maker_of(&ek.spki_der(), Some(junk), junk, &roots(&[])).unwrap();
        assert!(matches!(&said, EkCertificate::Unreadable { why } if !why.is_empty()), "{said}");
    }
    let tpm = TpmModel { manufacturer: "IFX".into(), ..TpmModel::default() };
    let said = EkCertificate::RootUnknown { issuer: "CN=X".into(), tpm };
    assert_eq!(said.to_string(), "TPM IFX, issued by CN=X, whose root is unknown here");
    assert!(matches!(MakerRoots::default().add(b"junk"), Err(RootError::NoCertificate)));
}

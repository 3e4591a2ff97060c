//! How a restored endpoint gets an identity that it can prove: an embedded CA, and EST in front of it.
//!
//! | module | what |
//! |---|---|
//! | [`ca`] | the site's own certificate authority: issues, revokes, publishes its CRL |
//! | [`cms`] | certs-only CMS, the envelope that EST answers in |
//! | [`est`] | RFC 7030 over the endpoints' listener |
//!
//! A certificate is given to a proven endpoint only: `est` asks the service to redeem the one-time secret that a
//! verified quote earned, and the service compares the key with the one that the TPM certified.

pub mod ca;
pub mod cms;
pub mod est;

#[cfg(test)]
mod tests;

//! The verifier against logs of real boots, a TPM on paper that can lie, and a TPM in software that cannot.

mod checks;
pub mod maker;
pub mod paper;
pub mod peers;
mod policy;
mod quote;

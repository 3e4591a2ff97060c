//! TPM 2.0 structures and the TCG event log, as bytes and as types.

//! TFTP for firmware: read only, from the boot kit's table, options and windows included.
//!
//! ```text
//!   packet    reads requests, writes answers          (RFC 1350, 2347)
//!   options   what of a request's options is granted  (RFC 2348, 2349, 7440)
//!   transfer  one transfer as a machine without I/O
//!   netascii  text mode
//!   line      a transfer's sockets
//!   serve     limits, decisions
//! ```
//!
//! Uploads do not exist. A client names a key of the table, never a path. An unknown name is refused at once: silence
//! costs shim half a minute for each of its optional files.

pub(crate) mod line;
pub mod netascii;
pub mod options;
pub mod packet;
pub(crate) mod serve;

pub mod transfer;

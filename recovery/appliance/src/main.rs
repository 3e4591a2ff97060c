//! `groundstate`: the appliance and its command line, one binary.
//!
//! `groundstate serve` is the daemon; every other verb is a client like any other: it speaks REST, or works on a store.
//! This file is a dispatch table and decides nothing.

mod config;
mod keys;
mod service;
mod enrol;
mod tls;

fn main() {}

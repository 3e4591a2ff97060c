//! `groundstate`: the appliance and its command line, one binary.
//!
//! `groundstate serve` is the daemon; every other verb is a client like any other: it speaks REST, or works on a store.
//! This file is a dispatch table and decides nothing.

mod attest;
mod boot;
mod clock;
mod config;
mod control_plane;
mod db;
mod evidence;
mod golden;
mod guard;
mod jobs;
mod keys;
mod live;
mod power;
mod api;
mod console;
mod drills;
mod hooks;
mod metrics;
mod service;
mod enrol;
mod tls;

fn main() {}

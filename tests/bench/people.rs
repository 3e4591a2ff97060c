//! What it costs to ask who somebody is: the permission of a request, a sign-in by password, and a flood of wrong ones.
//!
//! CPU seconds of the appliance's process, as the kernel counts them. A request with a name is compared with one that needs none; a sign-in with Debian's
//! `argon2`, which computes the same hash.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::door::{self, Door};
use super::{Figure, Programs, cpu_time};
use crate::tool;

const REQUESTS: u32 = 5000;
const SIGN_INS: u32 = 10;
const FLOOD: u32 = 500;
const PASSWORD: &str = "four words that fit";
/// What issue and manual promise.
const PERMISSION_US_MAX: f64 = 50.0;
/// Wrong ones of one name and address that are looked at before it is told to wait.
const LOOKED_AT: f64 = 3.0;

/// As many people as a large site has, so that the search for one of them counts; the token of the last.
fn fill(door: &Door) -> Result<String> {
    let mut token = String::new();
    for n in 0..200 {
        let order = json!({ "person": format!("person-{n}"), "role": "automation" });
        token =
            door.order("POST", "/api/v1/people", &order)?["token"].as_str().context("a token")?.to_owned();
    }
    for person in ["anna", "otto"] {
        door.order("POST", "/api/v1/people", &json!({ "person": person, "role": "engineer" }))?;
        door.order("PUT", &format!("/api/v1/people/{person}/password"), &json!({ "password": PASSWORD }))?;
    }
    Ok(token)
}

/// Permission, sign-in, flood.
///
/// # Errors
/// When a program cannot be run.
pub fn people(programs: &Programs, dir: &Path) -> Result<Vec<Figure>> {
    let (server, door) = door::open(&programs.programs, dir, "")?;
    let token = fill(&door)?;
    let cpu = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let before = cpu_time(server.pid())?;
        work()?;
        Ok((cpu_time(server.pid())? - before).as_secs_f64())
    };
    let ask = |path: &str, wanted: u16| {
        cpu(&mut || {
            for _ in 0..REQUESTS {
                let status = door.get(path, &token)?;
                ensure!(status == wanted, "{path}: {status}");
            }
            Ok(())
        })
    };
    // One that is refused has asked everything and read nothing; the open one is looked up by nobody.
    let (open, refused) = (ask("/livez", 200)?, ask("/api/v1/evidence/checkpoint", 403)?);
    let permission = (refused - open).max(0.0) / f64::from(REQUESTS) * 1e6;
    let name = "recovery.people/permission of a request CPU us";
    let mut figures =
        vec![Figure::at_most(name, permission, PERMISSION_US_MAX, "the limit that it must keep", 1.0)];

    let ours = cpu(&mut || {
        for _ in 0..SIGN_INS {
            ensure!(door.sign_in("otto", PASSWORD)? == 303, "otto was not let in");
        }
        Ok(())
    })? / f64::from(SIGN_INS);
    let peer = argon2()?;
    let against = "Debian's argon2 of the same cost";
    figures.push(Figure::at_most(
        "recovery.people/sign-in CPU ms",
        ours * 1000.0,
        peer * 1000.0,
        against,
        1.5,
    ));

    let flood = cpu(&mut || {
        for _ in 0..FLOOD {
            let status = door.sign_in("anna", "a guess")?;
            ensure!([401, 429].contains(&status), "a guess was answered {status}");
        }
        Ok(())
    })?;
    let name = "recovery.people/flood of 500 at one name CPU ms";
    let against = "the three that are looked at, and a request for each of the others";
    let allowed = LOOKED_AT * ours + f64::from(FLOOD) * (open + refused) / f64::from(REQUESTS);
    figures.push(Figure::at_most(name, flood * 1000.0, allowed * 1000.0, against, 2.0));
    Ok(figures)
}

/// CPU seconds of one hash by Debian's program, of ten.
fn argon2() -> Result<f64> {
    let word = format!(
        "for i in 1 2 3 4 5 6 7 8 9 10; do printf '{PASSWORD}' | argon2 saltsalt -id -t 2 -k 19456 -p 1 -r; done"
    );
    let own = std::process::id();
    let before = cpu_time(own)?;
    tool::run(Command::new("sh").args(["-c", &word]))?;
    Ok((cpu_time(own)? - before).as_secs_f64() / 10.0)
}

//! Pictures of the key pages, for people to look at: `browser/*.png` in cargo's target directory.

use anyhow::{Context, Result, ensure};
use tests::chromium::Look;

use crate::Tale;
use crate::floor::{DESKTOP, Floor, KIOSK, LONG_NAME, NARROW, PHONE, press};

pub const TALES: &[Tale] = &[Tale { name: "the_key_pages_have_their_pictures_taken", tell: take }];

fn take(floor: &Floor) -> Result<()> {
    let dark = Look { name: "dark", dark: true, ..DESKTOP };
    let forced = Look { name: "forced", forced_colours: true, ..DESKTOP };
    let german = Look { language: "de", ..PHONE };
    let chinese = Look { language: "zh", ..PHONE };
    let long = Look { language: "en-XA", ..NARROW };
    let mirrored = Look { language: "ar-XB", ..DESKTOP };
    let of = |name: &str| format!("/endpoints/{name}");
    let job = |name: &str| -> Result<String> {
        let job = floor.appliance.newest_job(name)?.with_context(|| format!("{name} has no job"))?;
        Ok(format!("/jobs/{}", job.job))
    };
    let pictures = [
        ("01-sign-in", DESKTOP, "", "/login".to_owned()),
        ("02-kiosk-pair", KIOSK, "", "/kiosk".to_owned()),
        ("03-first-page", DESKTOP, "eva", "/".to_owned()),
        ("04-first-page-phone", PHONE, "tom", "/".to_owned()),
        ("05-endpoint-to-recover", KIOSK, "tom", of(&press(11))),
        ("06-endpoint-to-recover-phone", german, "tom", of(&press(11))),
        ("07-endpoint-writing-phone", PHONE, "tom", of(&press(2))),
        ("08-endpoint-held", DESKTOP, "eva", of(LONG_NAME)),
        ("09-approval", dark, "ann", of("gw-01")),
        ("10-job-recovered", DESKTOP, "otto", job(&press(1))?),
        ("11-drill", KIOSK, "eva", "/drills".to_owned()),
        ("12-stop", PHONE, "tom", "/stop".to_owned()),
        ("13-account", DESKTOP, "eva", "/account".to_owned()),
        ("14-forced-colours", forced, "eva", of(&press(2))),
        ("15-long-words", long, "eva", of(LONG_NAME)),
        ("16-right-to-left", mirrored, "eva", "/".to_owned()),
        ("17-chinese-phone", chinese, "tom", of(&press(2))),
    ];
    for (name, look, who, path) in pictures {
        let tab = floor.tab(look, who)?;
        let status = tab.go(&path)?;
        ensure!(status == 200, "{path} is answered {status}");
        tab.picture(&floor.pictures.join(format!("{name}.png")))?;
    }
    // The new pages are not known by name here: each page of the navigation, once.
    let tab = floor.tab(DESKTOP, "ada")?;
    let links = tab
        .go("/")
        .and_then(|_| tab.js("[...document.querySelectorAll('nav a[href]')].map((link) => link.pathname)"))?;
    for path in
        links.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(|path| path.as_str())
    {
        tab.go(path)?;
        let name = path.trim_matches('/').replace('/', "-");
        tab.picture(
            &floor.pictures.join(format!("20-{}.png", if name.is_empty() { "first" } else { &name })),
        )?;
    }
    println!("  pictures lie in {}", floor.pictures.display());
    Ok(())
}

//! Pages that follow what happens, say when they cannot, and say the same everywhere.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Result, ensure};
use tests::chromium::Tab;
use tests::plant::APPLIANCE;

use crate::Tale;
use crate::floor::{DESKTOP, Floor, KIOSK, PHONE, press};
use crate::flows::text;

pub const TALES: &[Tale] = &[
    Tale { name: "a_page_that_lost_the_appliance_says_so_and_orders_nothing", tell: lost },
    Tale { name: "phone_kiosk_and_command_line_say_the_same", tell: alike },
];

/// A way to the console that can be cut.
struct Way {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    cut: AtomicBool,
    ends: Mutex<Vec<TcpStream>>,
}

impl Way {
    fn open() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let ours = shared.clone();
        thread::spawn(move || {
            for from in listener.incoming().flatten() {
                if !ours.cut.load(Ordering::Relaxed) {
                    // A connection that does not come about ends, as on a real wire.
                    let _ = ours.join(from);
                }
            }
        });
        Ok(Self { port, shared })
    }

    /// Nothing goes through, and what was open breaks.
    fn cut(&self) {
        let mut ends = self.shared.ends.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.cut.store(true, Ordering::Relaxed);
        for end in ends.drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.shared.cut.store(false, Ordering::Relaxed);
    }
}

impl Shared {
    fn join(&self, from: TcpStream) -> io::Result<()> {
        let to = TcpStream::connect((APPLIANCE, 443))?;
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, or what was under way when the wire broke would come through after it.
        if self.cut.load(Ordering::Relaxed) {
            return Ok(());
        }
        ends.extend([from.try_clone()?, to.try_clone()?]);
        drop(ends);
        for (mut read, mut write) in [(from.try_clone()?, to.try_clone()?), (to, from)] {
            thread::spawn(move || {
                let _ = io::copy(&mut read, &mut write);
                let _ = write.shutdown(Shutdown::Write);
            });
        }
        Ok(())
    }
}

/// Holds the next answer that the page asks for, whole but not handed over, until `release` is called; that ends when the page has done
/// with the answer what it does.
const HELD_ANSWER: &str = r#"(() => {
  const real = window.fetch;
  window.fetch = async (...what) => {
    window.fetch = real;
    const page = await (await real(...what)).text();
    await new Promise((done) => {
      window.release = () => { done(); return new Promise((next) => setTimeout(next)); };
    });
    return { ok: true, type: "basic", text: async () => page };
  };
  document.dispatchEvent(new Event("visibilitychange"));
})()"#;

/// The wire breaks in the middle of a recovery: the banner says so and since when, what could be pressed is dead; mended, the page knows
/// what happened meanwhile.
fn lost(floor: &Floor) -> Result<()> {
    let name = press(9);
    let way = Way::open()?;
    let tab = floor.tab_at(&format!("https://127.0.0.1:{}", way.port), DESKTOP, "eva")?;
    tab.go(&format!("/endpoints/{name}"))?;
    let alive = tab.find("button", "Hold to recover")?;
    ensure!(!alive.disabled, "the button is dead before anything happened");

    tab.js(HELD_ANSWER)?;
    tab.until("an answer under way", |tab| Ok(tab.js("typeof release")?.as_str() == Some("function")))?;
    way.cut();
    let dead = |tab: &Tab| {
        Ok(text(tab)?.contains("Connection lost") && tab.find("button", "Hold to recover")?.disabled)
    };
    tab.until("the banner and a dead button", dead)?;
    // What was asked before the wire broke says nothing of now.
    tab.js("release()")?;
    ensure!(dead(&tab)?, "a page without an appliance takes orders");
    // The lost connection stands on the browser's console, as it should.
    let _ = tab.faults();

    floor.recover(&name)?;
    way.mend();
    tab.until("what happened meanwhile", |tab| {
        Ok(!text(tab)?.contains("Connection lost")
            && !tab.has("button", "Hold to recover")
            && tab.has("button", "Cancel"))
    })?;
    ensure!(!tab.find("button", "Cancel")?.disabled, "the buttons stay dead");
    Ok(())
}

/// Three ways to look at one recovery, at each of its steps.
fn alike(floor: &Floor) -> Result<()> {
    let name = press(10);
    let page = format!("/endpoints/{name}");
    let (phone, kiosk) = (floor.tab(PHONE, "tom")?, floor.tab(KIOSK, "ann")?);
    phone.go(&page)?;
    kiosk.go(&page)?;
    let same = |step: &str| -> Result<()> {
        phone.until(&format!("all to say the same, {step}"), |phone| {
            // The command line's words are the record's; the pages' begin with a capital.
            let said =
                floor.appliance.endpoint(&name)?.job.map(|job| job.what.to_lowercase()).unwrap_or_default();
            let on = |tab: &Tab| Ok::<bool, anyhow::Error>(text(tab)?.to_lowercase().contains(&said));
            Ok(!said.is_empty() && on(phone)? && on(&kiosk)?)
        })
    };
    floor.recover(&name)?;
    same("ordered")?;
    let endpoint = floor.ordered(&name)?;
    endpoint.plans()?;
    same("planned")?;
    endpoint.writes(50)?;
    same("writing")?;
    endpoint.finishes()?;
    same("recovered")?;
    for tab in [&phone, &kiosk] {
        let faults = tab.faults();
        ensure!(faults.is_empty(), "{}", faults.join("\n  "));
    }
    Ok(())
}

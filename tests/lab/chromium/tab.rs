//! One person at one screen: a browser context with one page.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Chromium, LIMIT, Wire};

/// A screen, and how its person sees and touches it.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// What it is called in messages.
    pub name: &'static str,
    /// CSS pixels.
    pub width: u32,
    /// CSS pixels.
    pub height: u32,
    /// By finger, on a mobile browser; else by mouse.
    pub touch: bool,
    /// Scripts run.
    pub script: bool,
    /// The system's own few colours (CSS `forced-colors`).
    pub forced_colours: bool,
    /// The system is dark.
    pub dark: bool,
    /// The console's language cookie; empty: none.
    pub language: &'static str,
}

/// How a thing is pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// Left button.
    Mouse,
    /// One finger.
    Finger,
    /// The space bar, on what has the focus.
    Key,
}

/// Something on a page, as a screen reader is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// ARIA role.
    pub role: String,
    /// Accessible name, its white space made single.
    pub name: String,
    /// It does nothing now.
    pub disabled: bool,
    backend: u64,
}

/// One page of one person; gone when dropped.
#[derive(Debug)]
pub struct Tab {
    wire: Arc<Wire>,
    context: String,
    session: String,
    origin: String,
    look: Look,
    /// Events before it were judged.
    judged: Cell<usize>,
    /// Events since it belong to the page that is shown.
    shown: Cell<usize>,
    /// Where the mouse is.
    pointer: Cell<(f64, f64)>,
}

impl Tab {
    /// A new person's page. `origin` is the console, as in `https://10.77.0.1`.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn open(browser: &Chromium, origin: &str, look: Look) -> Result<Self> {
        let wire = browser.wire().clone();
        let text = |value: &Value| value.as_str().map(str::to_owned).context("chromium gave no name");
        let context = text(
            &wire.call("", "Target.createBrowserContext", json!({ "disposeOnDetach": true }))?["browserContextId"],
        )?;
        let target = json!({ "url": "about:blank", "browserContextId": context });
        let target = text(&wire.call("", "Target.createTarget", target)?["targetId"])?;
        let attach = json!({ "targetId": target, "flatten": true });
        let session = text(&wire.call("", "Target.attachToTarget", attach)?["sessionId"])?;
        let (judged, shown, pointer) = (Cell::new(0), Cell::new(0), Cell::default());
        let tab = Self { wire, context, session, origin: origin.to_owned(), look, judged, shown, pointer };
        for domain in ["Page", "Runtime", "Network", "Log", "DOM", "Accessibility"] {
            tab.call(&format!("{domain}.enable"), json!({}))?;
        }
        tab.put_on(look)?;
        Ok(tab)
    }

    fn put_on(&self, look: Look) -> Result<()> {
        let size = json!({ "width": look.width, "height": look.height, "deviceScaleFactor": 1, "mobile": look.touch });
        self.call("Emulation.setDeviceMetricsOverride", size)?;
        self.call("Emulation.setTouchEmulationEnabled", json!({ "enabled": look.touch }))?;
        self.call("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }))?;
        self.call("Emulation.setScriptExecutionDisabled", json!({ "value": !look.script }))?;
        let scheme = if look.dark { "dark" } else { "light" };
        let colours = if look.forced_colours { "active" } else { "none" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "forced-colors", "value": colours },
            // What moves is never the same twice on a picture.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.call("Emulation.setEmulatedMedia", json!({ "features": features }))?;
        if !look.language.is_empty() {
            self.cookie("groundstate-language", look.language)?;
        }
        Ok(())
    }

    /// How it looks.
    #[must_use]
    pub fn look(&self) -> Look {
        self.look
    }

    /// Gives the browser a cookie of the console.
    ///
    /// # Errors
    /// When it takes none of that kind.
    pub fn cookie(&self, name: &str, value: &str) -> Result<()> {
        let cookie =
            json!({ "name": name, "value": value, "url": self.origin, "secure": true, "httpOnly": true });
        self.call("Network.setCookie", cookie).map(drop)
    }

    /// The value of a cookie of the console.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn cookie_value(&self, name: &str) -> Result<Option<String>> {
        let all = self.call("Network.getCookies", json!({ "urls": [self.origin] }))?;
        let one = all["cookies"]
            .as_array()
            .and_then(|all| all.iter().find(|cookie| cookie["name"] == name).cloned());
        Ok(one.and_then(|cookie| cookie["value"].as_str().map(str::to_owned)))
    }

    /// One command of the protocol.
    ///
    /// # Errors
    /// What the browser says.
    pub fn call(&self, method: &str, params: Value) -> Result<Value> {
        self.wire.call(&self.session, method, params)
    }

    /// Opens a page of the console and waits until it and what it needs are there. The status of the answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn go(&self, path: &str) -> Result<u16> {
        let from = self.wire.mark(&self.session);
        let gone = self.call("Page.navigate", json!({ "url": format!("{}{path}", self.origin) }))?;
        if let Some(error) = gone["errorText"].as_str() {
            bail!("{path}: {error}");
        }
        self.loaded(from, path)
    }

    /// Does something that leads to another page, and waits for that. The status of the answer.
    ///
    /// # Errors
    /// When no page comes.
    pub fn leads(&self, what: impl FnOnce() -> Result<()>) -> Result<u16> {
        let from = self.wire.mark(&self.session);
        what()?;
        self.loaded(from, "another page")
    }

    fn loaded(&self, from: usize, what: &str) -> Result<u16> {
        self.shown.set(from);
        let status = self.wire.until(what, LIMIT, || {
            let events = self.wire.events(&self.session, from);
            let done = events.iter().any(|event| event["method"] == "Page.loadEventFired");
            let status = events.iter().rev().find_map(|event| {
                let params = &event["params"];
                let document = event["method"] == "Network.responseReceived" && params["type"] == "Document";
                document.then(|| params["response"]["status"].as_u64()).flatten()
            });
            Ok(if done { status } else { None })
        });
        Ok(u16::try_from(status?)?)
    }

    /// The path of the page that is shown, with its query.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn path(&self) -> Result<String> {
        let path = self.js("location.pathname + location.search")?;
        Ok(path.as_str().unwrap_or_default().to_owned())
    }

    /// What this expression is on the page, as JSON; for measuring what is there, not for finding it.
    ///
    /// # Errors
    /// When it throws.
    pub fn js(&self, expression: &str) -> Result<Value> {
        let order = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", order)?;
        if let Some(thrown) = answer.get("exceptionDetails") {
            let why = thrown["exception"]["description"].as_str().or(thrown["text"].as_str());
            bail!("on the page: {}", why.unwrap_or("an exception"));
        }
        Ok(answer["result"]["value"].take())
    }

    /// Everything with this role that is not hidden, in the order of the page.
    ///
    /// # Errors
    /// When the page goes meanwhile.
    pub fn all(&self, role: &str) -> Result<Vec<Node>> {
        let root = self.call("DOM.getDocument", json!({ "depth": 0 }))?;
        let query = json!({ "nodeId": root["root"]["nodeId"], "role": role });
        let found = self.call("Accessibility.queryAXTree", query)?;
        let nodes = found["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(nodes.iter().filter(|node| node["ignored"] != true).filter_map(node).collect())
    }

    /// What has this role and name now; a `*` at the end of the name stands for anything.
    fn now(&self, role: &str, name: &str) -> Option<Node> {
        let begins = name.strip_suffix('*');
        let is = |node: &Node| begins.map_or(node.name == name, |begin| node.name.starts_with(begin));
        // While one page goes and another comes there is nothing.
        self.all(role).ok()?.into_iter().find(is)
    }

    /// Waits for what has this role and name; a `*` at the end of the name stands for anything.
    ///
    /// # Errors
    /// When it does not come; the message says what of that role is there.
    pub fn find(&self, role: &str, name: &str) -> Result<Node> {
        self.wire.until(&format!("{role} {name:?}"), LIMIT, || Ok(self.now(role, name))).map_err(|error| {
            let there: Vec<String> =
                self.all(role).unwrap_or_default().into_iter().map(|node| node.name).collect();
            let path = self.path().unwrap_or_default();
            error.context(format!("on {path} the {role}s are {there:?}"))
        })
    }

    /// Waits until that is true of the page.
    ///
    /// # Errors
    /// When it does not become true.
    pub fn until(&self, what: &str, mut is: impl FnMut(&Self) -> Result<bool>) -> Result<()> {
        self.wire.until(what, LIMIT, || Ok(is(self).unwrap_or(false).then_some(())))
    }

    /// Whether there is something of this role and name now.
    #[must_use]
    pub fn has(&self, role: &str, name: &str) -> bool {
        self.now(role, name).is_some()
    }

    /// Presses what has this role and name, by finger or mouse, as this screen has it.
    ///
    /// # Errors
    /// When it is not there or dead.
    pub fn click(&self, role: &str, name: &str) -> Result<()> {
        let node = self.find(role, name)?;
        if node.disabled {
            bail!("{role} {name:?} is disabled");
        }
        let press = if self.look.touch { Press::Finger } else { Press::Mouse };
        self.down(role, name, press)?;
        self.up(press)
    }

    /// Writes into what has this role and name.
    ///
    /// # Errors
    /// When it is not there.
    pub fn fill(&self, role: &str, name: &str, text: &str) -> Result<()> {
        let node = self.find(role, name)?;
        self.fill_node(&node, text)
    }

    /// Writes into it.
    ///
    /// # Errors
    /// When it takes no focus.
    pub fn fill_node(&self, node: &Node, text: &str) -> Result<()> {
        self.call("DOM.focus", json!({ "backendNodeId": node.backend }))?;
        self.call("Input.insertText", json!({ "text": text })).map(drop)
    }

    /// Presses a button and does not let go: [`Tab::end`] does.
    ///
    /// # Errors
    /// When it is not there or dead.
    pub fn begin(&self, name: &str, press: Press) -> Result<()> {
        let node = self.find("button", name)?;
        if node.disabled {
            bail!("the button {name:?} is disabled");
        }
        self.down("button", name, press)
    }

    /// Lets go.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn end(&self, press: Press) -> Result<()> {
        self.up(press)
    }

    fn down(&self, role: &str, name: &str, press: Press) -> Result<()> {
        if press == Press::Key {
            let node = self.find(role, name)?;
            self.call("DOM.focus", json!({ "backendNodeId": node.backend }))?;
            return self.space("keyDown");
        }
        // A page that follows its appliance may put another in the place of the one just found.
        let what = format!("a place for {role} {name:?} on the page");
        let (x, y) =
            self.wire.until(&what, LIMIT, || Ok(self.now(role, name).and_then(|node| self.place(&node))))?;
        if press == Press::Finger {
            return self
                .call(
                    "Input.dispatchTouchEvent",
                    json!({ "type": "touchStart", "touchPoints": [{ "x": x, "y": y }] }),
                )
                .map(drop);
        }
        self.pointer.set((x, y));
        self.call("Input.dispatchMouseEvent", json!({ "type": "mouseMoved", "x": x, "y": y }))?;
        let pressed = json!({ "type": "mousePressed", "x": x, "y": y, "button": "left", "clickCount": 1 });
        self.call("Input.dispatchMouseEvent", pressed).map(drop)
    }

    /// The middle of it, in the window's pixels; none: it is not, or no longer, shown.
    fn place(&self, node: &Node) -> Option<(f64, f64)> {
        let this = json!({ "backendNodeId": node.backend });
        self.call("DOM.scrollIntoViewIfNeeded", this.clone()).ok()?;
        let quads = self.call("DOM.getContentQuads", this).ok()?;
        let quad = quads["quads"][0].as_array()?;
        let mean = |from: usize| {
            (0..4).filter_map(|corner| quad.get(from + corner * 2)?.as_f64()).sum::<f64>() / 4.0
        };
        Some((mean(0), mean(1)))
    }

    fn up(&self, press: Press) -> Result<()> {
        match press {
            Press::Mouse => {
                // Where it is released does not matter to what was pressed: the pointer has not moved.
                let (x, y) = self.pointer.get();
                let released =
                    json!({ "type": "mouseReleased", "x": x, "y": y, "button": "left", "clickCount": 1 });
                self.call("Input.dispatchMouseEvent", released).map(drop)
            }
            Press::Finger => self
                .call("Input.dispatchTouchEvent", json!({ "type": "touchEnd", "touchPoints": [] }))
                .map(drop),
            Press::Key => self.space("keyUp"),
        }
    }

    fn space(&self, kind: &str) -> Result<()> {
        self.key(kind, " ", "Space", 32, Some(" "))
    }

    /// Presses a key with no letter of its own, and lets go: `Tab`, `Enter`.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn type_key(&self, name: &str) -> Result<()> {
        let (key, code, text) = match name {
            "Tab" => ("Tab", 9, None),
            "Enter" => ("Enter", 13, Some("\r")),
            "Space" => (" ", 32, Some(" ")),
            other => bail!("the test knows no key {other:?}"),
        };
        self.key(if text.is_some() { "keyDown" } else { "rawKeyDown" }, key, name, code, text)?;
        self.key("keyUp", key, name, code, None)
    }

    fn key(&self, kind: &str, key: &str, code: &str, number: u32, text: Option<&str>) -> Result<()> {
        let mut event = json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number });
        if let (Some(text), true) = (text, kind == "keyDown") {
            event["text"] = text.into();
        }
        self.call("Input.dispatchKeyEvent", event).map(drop)
    }

    /// What has the focus.
    ///
    /// # Errors
    /// When nothing a person could press has it.
    pub fn focused(&self) -> Result<Node> {
        let object = self.call("Runtime.evaluate", json!({ "expression": "document.activeElement" }))?;
        let this = json!({ "objectId": object["result"]["objectId"], "fetchRelatives": false });
        let tree = self.call("Accessibility.getPartialAXTree", this)?;
        node(&tree["nodes"][0]).context("nothing has the focus")
    }

    /// The outline of the page as a screen reader reads it: role and name, line by line.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub fn outline(&self) -> Result<Vec<Node>> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}))?;
        let nodes = tree["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(nodes.iter().filter(|node| node["ignored"] != true).filter_map(node).collect())
    }

    /// What went wrong since this was asked last: exceptions, errors on the browser's console, requests to any other place. That a page
    /// was refused is no fault: who opened it knows its status.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let events = self.wire.events(&self.session, self.judged.get());
        self.judged.set(self.judged.get() + events.len());
        let documents: Vec<&str> = events
            .iter()
            .filter(|event| {
                event["method"] == "Network.responseReceived" && event["params"]["type"] == "Document"
            })
            .filter_map(|event| event["params"]["response"]["url"].as_str())
            .collect();
        events.iter().filter_map(|event| self.fault(event, &documents)).collect()
    }

    fn fault(&self, event: &Value, documents: &[&str]) -> Option<String> {
        let params = &event["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["method"].as_str()? {
            "Runtime.exceptionThrown" => {
                let thrown = &params["exceptionDetails"];
                Some(format!(
                    "exception: {} {}",
                    text(&thrown["text"]),
                    text(&thrown["exception"]["description"])
                ))
            }
            "Runtime.consoleAPICalled"
                if ["error", "assert", "warning"].contains(&params["type"].as_str()?) =>
            {
                Some(format!("{}: {}", text(&params["type"]), params["args"]))
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                let entry = &params["entry"];
                let document = entry["source"] == "network"
                    && documents.contains(&entry["url"].as_str().unwrap_or_default());
                (!document).then(|| format!("console: {} {}", text(&entry["text"]), text(&entry["url"])))
            }
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str()?;
                let ours = url
                    .strip_prefix(&self.origin)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                (!ours && !url.starts_with("data:")).then(|| format!("a request to another place: {url}"))
            }
            _ => None,
        }
    }

    /// What the page that is shown has cost so far: requests, each address once (what happens at the site meanwhile has a live page ask again), and bytes
    /// as they travelled.
    #[must_use]
    pub fn traffic(&self) -> (usize, u64) {
        let events = self.wire.events(&self.session, self.shown.get());
        let sent = events.iter().filter(|event| event["method"] == "Network.requestWillBeSent");
        let requests: BTreeSet<&str> =
            sent.filter_map(|event| event["params"]["request"]["url"].as_str()).collect();
        let bytes = events
            .iter()
            .filter(|event| event["method"] == "Network.loadingFinished")
            .filter_map(|event| event["params"]["encodedDataLength"].as_f64())
            .sum::<f64>();
        (requests.len(), bytes as u64)
    }

    /// A picture of the whole page, as PNG.
    ///
    /// # Errors
    /// When the browser makes none, or the file cannot be written.
    pub fn picture(&self, file: &Path) -> Result<()> {
        let metrics = self.call("Page.getLayoutMetrics", json!({}))?;
        let size = &metrics["cssContentSize"];
        let clip = json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let order = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.call("Page.captureScreenshot", order)?;
        let bytes = STANDARD.decode(picture["data"].as_str().unwrap_or_default())?;
        fs::write(file, bytes).with_context(|| format!("cannot write {}", file.display()))
    }
}

impl Drop for Tab {
    fn drop(&mut self) {
        let _ =
            self.wire.call("", "Target.disposeBrowserContext", json!({ "browserContextId": self.context }));
    }
}

fn node(tree: &Value) -> Option<Node> {
    let name = tree["name"]["value"].as_str().unwrap_or_default();
    let disabled = |property: &Value| property["name"] == "disabled" && property["value"]["value"] == true;
    Some(Node {
        role: tree["role"]["value"].as_str()?.to_owned(),
        name: name.split_whitespace().collect::<Vec<_>>().join(" "),
        disabled: tree["properties"].as_array().is_some_and(|properties| properties.iter().any(disabled)),
        backend: tree["backendDOMNodeId"].as_u64()?,
    })
}

// The console's only script. It makes pages live; every page works without it.
//
//   /changes (server-sent events) ─► fetch <main data-live> again ─► replace its content, keep focus and open details
//   form[data-hold]: the button must be held; letting go stops it
//   [data-since], [data-moment], [data-time]: clocks in the reader's own time
//   #camera: reads a machine's code where the browser can; whoever types instead types into #code
//
// Its words come with the page, in the page's language: data attributes of <main>, with U+E000 and U+E001 where numbers go.
//
// It never evaluates text, builds HTML from data, or speaks to another host.

const main = document.querySelector("main");
const lost = document.getElementById("lost");
let fresh = Date.now();
let losses = 0;
let skew = 0;
let holding = false;
let due = false;

// ---- clocks ----

const language = document.documentElement.lang;

function filled(text, ...values) {
  return values.reduce((said, value, at) => said.replace(String.fromCharCode(0xe000 + at), value), text ?? "");
}

function duration(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return filled(main.dataset.seconds, s);
  if (s < 3600) return filled(main.dataset.minutes, Math.floor(s / 60), two(s % 60));
  return filled(main.dataset.hours, Math.floor(s / 3600), two(Math.floor(s / 60) % 60));
}

function moment(ms) {
  const at = new Date(ms);
  const today = at.toDateString() === new Date().toDateString();
  const time = at.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  return today ? time : `${at.toLocaleDateString(language)} ${time}`;
}

function readClock() {
  const now = main.querySelector("[data-now]");
  if (now) skew = Number(now.dataset.now) - Date.now();
  for (const time of main.querySelectorAll("[data-moment]")) time.textContent = moment(Number(time.dataset.moment));
  const short = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  for (const time of main.querySelectorAll("[data-time]")) time.textContent = new Date(Number(time.dataset.time)).toLocaleTimeString(language, short);
}

function tick() {
  const now = Date.now() + skew;
  for (const span of main.querySelectorAll("[data-since]")) span.textContent = duration(now - Number(span.dataset.since));
}

// ---- live content ----

// What somebody is writing is never swept away.
function busy() {
  // The empty field of /scan has the focus all the time; it gets it back.
  const waits = (field) => field.id === "code" && field.value === "";
  const touched = (field) => (field === document.activeElement && !waits(field)) || (field.type !== "hidden" && field.value !== field.defaultValue);
  return holding || [...main.querySelectorAll("input, textarea")].some(touched) || document.activeElement?.tagName === "SELECT";
}

async function refresh() {
  if (busy()) { due = true; return; }
  due = false;
  const known = losses;
  const answer = await fetch(main.dataset.live, { headers: { accept: "text/html" }, redirect: "manual", cache: "no-store" });
  if (answer.type === "opaqueredirect") { location.reload(); return; }
  if (!answer.ok) throw new Error(String(answer.status));
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").body;
  if (busy()) { due = true; return; }
  // What was asked before the connection was lost says nothing of now.
  if (known !== losses) return "stale";
  const said = (root) => root.querySelector(".what")?.textContent ?? "";
  const before = said(main);
  const focused = document.activeElement?.id;
  const open = [...main.querySelectorAll("details[open]")].map((details) => details.id);
  main.replaceChildren(...next.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused && document.activeElement?.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true });
  if (said(main) && said(main) !== before) document.getElementById("said").textContent = said(main);
  fresh = Date.now();
  connected(true);
  prepare();
}

function connected(yes) {
  if (!yes) losses += 1;
  document.body.classList.toggle("is-lost", !yes);
  lost.hidden = yes;
  if (!yes) lost.querySelector("[data-lost-at]").textContent = moment(fresh);
  for (const button of main.querySelectorAll("form button")) {
    if (!yes && !button.disabled) { button.disabled = true; button.dataset.offline = ""; }
    if (yes && "offline" in button.dataset) { button.disabled = false; delete button.dataset.offline; }
  }
}

function follow() {
  let last = 0;
  let waiting;
  const events = new EventSource("/changes");
  // A stream that is not open asks again by itself once it is.
  const again = (answer) => { if (answer === "stale" && events.readyState === EventSource.OPEN) soon(); };
  const soon = () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { last = Date.now(); refresh().then(again).catch(() => connected(false)); }, Math.max(0, 1000 - (Date.now() - last)));
  };
  events.onmessage = soon;
  events.onopen = () => { connected(true); soon(); };
  events.onerror = () => connected(false);
  main.addEventListener("focusout", () => { if (due) soon(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) soon(); });
}

// ---- hold to recover ----

function hold(form) {
  const button = form.querySelector("button");
  const label = button.querySelector("span");
  const word = label.textContent;
  const limit = Number(form.dataset.hold);
  let timer, count;
  const stop = () => {
    if (!timer) return;
    clearTimeout(timer); clearInterval(count);
    timer = undefined; holding = false;
    button.classList.remove("holding");
    label.textContent = word;
    if (due) refresh().catch(() => connected(false));
  };
  const start = () => {
    if (timer || button.disabled || !form.reportValidity()) return;
    holding = true;
    const began = performance.now();
    button.classList.add("holding");
    const left = () => { label.textContent = filled(main.dataset.holdWord, Math.ceil((limit - (performance.now() - began)) / 1000)); };
    left();
    count = setInterval(left, 200);
    timer = setTimeout(() => {
      clearInterval(count);
      label.textContent = main.dataset.startedWord;
      button.classList.add("held");
      // Before the first tap a browser refuses, and says so on its console.
      if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(120);
      form.elements.confirm.value = "yes";
      form.submit();
    }, limit);
  };
  button.style.setProperty("--hold", `${limit}ms`);
  button.addEventListener("pointerdown", (event) => { if (event.button === 0) { button.setPointerCapture(event.pointerId); start(); } });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) button.addEventListener(end, stop);
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) start();
  });
  button.addEventListener("keyup", stop);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  form.addEventListener("submit", (event) => { if (form.elements.confirm.value !== "yes") event.preventDefault(); });
}

// ---- which machine? ----

function scan() {
  const button = document.getElementById("camera");
  if (!button || !("BarcodeDetector" in window) || !navigator.mediaDevices?.getUserMedia) return;
  const [said, view, field, word] = [document.getElementById("camera-said"), document.getElementById("viewfinder"), document.getElementById("code"), button.textContent];
  let stream;
  said.textContent = "";
  button.hidden = false;
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = undefined; holding = false;
    view.hidden = true; button.textContent = word;
  };
  const look = async (detector) => {
    while (stream) {
      const [code] = await detector.detect(view).catch(() => []);
      if (code && stream) { stop(); field.value = code.rawValue; navigator.vibrate?.(120); field.form.submit(); return; }
      await new Promise((next) => setTimeout(next, 150));
    }
  };
  button.addEventListener("click", async () => {
    if (stream) { stop(); return; }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      holding = true;
      view.srcObject = stream; view.hidden = false; button.textContent = button.dataset.stopWord;
      await view.play();
      look(new BarcodeDetector({ formats: ["qr_code"] }));
    } catch { stop(); said.textContent = button.dataset.refusedWord; }
  });
}

// A scanner types wherever the focus is.
document.addEventListener("keydown", (event) => {
  const plain = event.key.length === 1 && !event.ctrlKey && !event.altKey && !event.metaKey;
  if (plain && !document.activeElement?.matches("input, textarea, select, button, a, summary")) document.getElementById("code")?.focus();
});

function prepare() {
  readClock();
  tick();
  for (const form of main.querySelectorAll("form[data-hold]")) hold(form);
  scan();
}

prepare();
setInterval(tick, 1000);
if (main.dataset.live) follow();

// Adds to Gradio's page: the results, a bar that moves between two reports of the server, scrolling and keyboard
// focus that follow a job, an announcement of its end, and pasting of images.

import { Viewer } from "./viewer.js";

const TICK = 200; // ms
const viewers = new Map(); // section -> Viewer
const fresh = new Set(); // sections with results of the running job
const bars = new Map(); // report -> what its bar shows
const announcer = Object.assign(document.createElement("p"), { className: "announcer", role: "status" });
document.body.append(announcer);

function announce(message) {
  announcer.textContent = message;
}

function scrollTo(element, block) {
  const isReduced = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: isReduced ? "auto" : "smooth", block });
}

/** True if no control has the focus: a button that was disabled or removed has lost it. */
function isFocusLost() {
  const { activeElement } = document;
  return !activeElement || activeElement === document.body || activeElement.disabled;
}

const tabOf = (element) => element.closest("[role=tabpanel]") ?? document.body;
const isVisible = (element) => element.offsetParent !== null;

// --- results ---

function showResults() {
  for (const data of document.querySelectorAll(".results")) {
    const section = tabOf(data).querySelector(".viewer");
    if (!section) continue;
    if (!viewers.has(section)) viewers.set(section, new Viewer(section));
    const content = viewers.get(section).update(data.dataset.results);
    if (content && !content.example) fresh.add(section);
  }
}

/** Scrolls to a new result; the focus follows unless the visitor has moved it elsewhere. */
function goTo(viewer) {
  const tab = tabOf(viewer.root);
  scrollTo(viewer.root, "start");
  if (isFocusLost() || tab.querySelector(".buttons")?.contains(document.activeElement)) {
    viewer.title.focus({ preventScroll: true });
  }
}

// --- progress ---

function followProgress() {
  for (const report of document.querySelectorAll(".report:not(.block)")) {
    const bar = report.querySelector("progress");
    const former = bars.get(report);
    // Gradio changes the attributes of the bar that is there; the browser itself changes its value.
    const news = bar && JSON.stringify(bar.dataset);
    if (bar && (bar !== former?.bar || news !== former.news)) startBar(report, bar, news, former);
    else if (!bar && former) endBar(report);
  }
}

function startBar(report, bar, news, former) {
  const { fraction, left, end } = bar.dataset;
  const reported = fraction === undefined ? null : Number(fraction);
  const state = {
    bar,
    news,
    from: reported === null ? null : Math.max(reported, former?.value ?? 0),
    end: Number(end),
    left: left === undefined ? null : Number(left),
    at: performance.now(),
    text: report.querySelector(".left"),
  };
  state.value = state.from ?? 0;
  bars.set(report, state);
  drawBar(state);
  if (!former) scrollTo(report, "nearest");
}

function endBar(report) {
  bars.delete(report);
  const section = tabOf(report).querySelector(".viewer");
  if (report.querySelector(".canceled")) announce("Canceled.");
  else if (fresh.has(section)) {
    announce(`Done: ${section.querySelector(".line").textContent}.`);
    goTo(viewers.get(section));
  }
  fresh.delete(section);
}

/** Moves a bar by the expected time, up to 95 % of what the server has not reported yet. */
function drawBar(state) {
  const { bar, from, end, left, at, text } = state;
  if (from === null) return;
  const passed = (performance.now() - at) / 1000;
  const share = left === null ? 0 : 0.95 * Math.min(1, passed / Math.max(left, 0.1));
  state.value = Math.max(state.value, from + (end - from) * share);
  bar.value = state.value;
  if (left !== null && text) text.textContent = `, about ${seconds(Math.max(left - passed, 1))} left`;
}

function seconds(number) {
  if (number >= 100) return `${Math.round(number / 60)} minutes`;
  return number < 1.5 ? "1 second" : `${Math.round(number)} seconds`;
}

setInterval(() => bars.forEach(drawBar), TICK);

// --- focus ---

/** Disabling or removing a focused button moves the focus to the body; moves it on to what is next. */
function keepFocus() {
  if (document.activeElement && document.activeElement !== document.body) return;
  for (const row of document.querySelectorAll(".buttons")) {
    const [start, stop] = row.querySelectorAll("button");
    if (!start || !stop || row.dataset.active !== "true") continue;
    if (start.disabled && !stop.disabled) stop.focus({ preventScroll: true });
    else if (!start.disabled) start.focus({ preventScroll: true });
  }
}

document.addEventListener("click", ({ target }) => {
  for (const row of document.querySelectorAll(".buttons")) {
    const isHere = tabOf(row).contains(target) && target.closest?.(".buttons, .examples, .image-input");
    row.dataset.active = String(Boolean(isHere));
  }
});

// --- input ---

/** Gives files to the upload of the tab that is open. */
function upload(files) {
  const inputs = [...document.querySelectorAll(".image-input input[type=file]")];
  const input = inputs.find((each) => isVisible(each.closest(".image-input")));
  if (!input) return false;
  const transfer = new DataTransfer();
  for (const file of input.multiple ? files : files.slice(0, 1)) transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}

document.addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (files.length && upload(files)) event.preventDefault();
});

// --- Gradio's page changes ---

function update() {
  showResults();
  followProgress();
  keepFocus();
}

new MutationObserver(update).observe(document.body, {
  childList: true,
  subtree: true,
  attributes: true,
  attributeFilter: ["disabled", "data-results", "data-fraction", "data-left"],
});
update();

// The page: choosing images and a task, running them one after another, showing and saving results.

import { chooseModel, kindLabel, loadCatalog } from "./catalog.js";
import { Comparison } from "./comparison.js";
import { UserError } from "./errors.js";
import { readHeader } from "./headers.js";
import { formatBytes, formatSeconds, formatSize, resultName } from "./text.js";
import { makeZip } from "./zip_writer.js";

const MAX_FILE_BYTES = 500e6;
const MAX_SHOWN_PIXELS = 60e6;
const MAX_THREADS = 16;
const EXAMPLE = {
  before: "examples/before.webp",
  after: "examples/after.webp",
  width: 1280,
  height: 960,
  name: "a cat",
  line: "A photo of 320 × 240 pixels, enlarged 4 times. Move the handle to compare.",
};

const element = (id) => document.getElementById(id);
const comparison = new Comparison(element("comparison"), element("zoom"));
const items = []; // chosen images: {file, header, thumbnail, state, message, result, resultUrl, row}
let catalog = null;
let worker = null;
let running = null; // the item that runs, with what ends its promise
let shown = null;

// --- start ---

showExample();
try {
  if (typeof CompressionStream === "undefined" || typeof OffscreenCanvas === "undefined") {
    throw new UserError("This browser is too old for this page. Update it, or try another one.");
  }
  catalog = await loadCatalog();
  fillTasks();
  offerGpu();
  keepOffline();
} catch (error) {
  const isForVisitor = error instanceof UserError;
  tellAlert(
    isForVisitor ? error.message : "The models could not be loaded. Check the connection and reload the page.",
  );
  console.error(error);
}
listen();
update();

function showExample() {
  comparison.show(EXAMPLE);
  element("result-line").textContent = EXAMPLE.line;
}

function fillTasks() {
  for (const task of catalog.tasks) {
    const label = document.createElement("label");
    label.className = "choice";
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "task", value: task.id });
    input.addEventListener("change", fillKinds);
    const text = document.createElement("span");
    text.textContent = task.label;
    label.append(input, text);
    element("task-choices").append(label);
  }
  element("task-choices").querySelector("input").checked = true;
  element("tasks").disabled = false;
  fillKinds();
}

/** Offers the models of the chosen task, if there are several. */
function fillKinds() {
  const { models } = chosenTask();
  const options = models.map((model) => new Option(kindLabel(model, models), model.name));
  if (chooseModel(models, { isLossy: true, quality: null, format: "" }).reason !== null) {
    options.unshift(new Option("Automatic (by file type)", ""));
  }
  element("kind").replaceChildren(...options);
  element("kind-field").hidden = options.length < 2;
}

function chosenTask() {
  const id = document.querySelector("input[name=task]:checked").value;
  return catalog.tasks.find((task) => task.id === id);
}

/** The model for an image, by the settings of the page. */
function modelFor(item) {
  const { models } = chosenTask();
  const name = element("kind").value;
  const named = models.find((model) => model.name === name);
  return named ? { model: named, reason: null } : chooseModel(models, item.header);
}

async function offerGpu() {
  let isThere = false;
  if (navigator.gpu && "Suspending" in WebAssembly) {
    isThere = (await navigator.gpu.requestAdapter().catch(() => null)) !== null;
  }
  element("gpu-field").hidden = !isThere;
  element("gpu-missing").hidden = isThere;
}

async function keepOffline() {
  const place = element("offline");
  if (!("serviceWorker" in navigator)) return;
  try {
    await navigator.serviceWorker.register(`service_worker.js?version=${catalog.site.version}`);
    await navigator.serviceWorker.ready;
    place.textContent = "This page now works offline.";
  } catch (error) {
    console.info("not kept for offline use:", error); // private windows have no storage
  }
}

// --- choosing images ---

function listen() {
  const drop = element("drop");
  element("files").addEventListener("change", ({ target }) => {
    addFiles([...target.files]);
    target.value = "";
  });
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    addFiles([...event.dataTransfer.files]);
  });
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) addFiles(files);
  });
  element("start").addEventListener("click", runAll);
  element("cancel").addEventListener("click", cancel);
  element("download-all").addEventListener("click", downloadAll);
}

async function addFiles(files) {
  if (running) return tellAlert("Wait for the end, or cancel, before you choose other images.");
  const refused = [];
  const added = [];
  for (const file of files) {
    try {
      if (file.size > MAX_FILE_BYTES) throw new UserError(`The file has more than ${formatBytes(MAX_FILE_BYTES)}.`);
      const header = readHeader(new Uint8Array(await file.arrayBuffer()));
      added.push({ file, header, thumbnail: URL.createObjectURL(file), state: "waiting" });
    } catch (error) {
      const message = error instanceof UserError ? error.message : "The file cannot be read. Choose it again.";
      refused.push(`${file.name}: ${message}`);
    }
  }
  if (added.length) {
    if (items.every(({ state }) => state !== "waiting")) removeAll(); // new images replace finished ones
    items.push(...added);
  }
  tellAlert(refused.join("\n"));
  update();
  if (added.length) element("start").focus();
}

function removeAll() {
  for (const item of [...items]) remove(item);
}

function remove(item) {
  URL.revokeObjectURL(item.thumbnail);
  if (item.resultUrl) URL.revokeObjectURL(item.resultUrl);
  items.splice(items.indexOf(item), 1);
  if (shown === item) clearResult();
  update();
}

/** Hides what the last image left. */
function clearResult() {
  shown = null;
  element("result-title").textContent = "Example";
  element("download").hidden = true;
  element("details").hidden = true;
  element("no-preview").hidden = true;
  element("comparison").hidden = false;
  showExample();
}

// --- running ---

async function runAll() {
  tellAlert("");
  const waiting = items.filter(({ state }) => state !== "done");
  if (waiting.length === 0) {
    for (const item of items) item.state = "waiting"; // again, with other settings
    waiting.push(...items);
  }
  for (const [index, item] of waiting.entries()) {
    const isLast = await runItem(item, waiting.length > 1 ? `${index + 1} of ${waiting.length}: ` : "");
    if (!isLast) break;
  }
  update();
}

/** Runs one image; returns false if it was canceled. */
async function runItem(item, prefix) {
  const { model, reason } = modelFor(item);
  item.state = "running";
  item.message = "";
  const isFirst = shown === null;
  try {
    const promise = new Promise((resolve, reject) => {
      running = { item, prefix, resolve, reject };
    });
    update();
    element("cancel").focus();
    element("progress").scrollIntoView({ block: "nearest" });
    showProgress({ stage: "Starting" });
    startWorker().postMessage({
      file: item.file,
      manifest: model,
      modelUrl: new URL(model.url, document.baseURI).href,
      runtime: new URL(catalog.site.runtime, document.baseURI).href,
      threads: self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS) : 1,
      wantsGpu: element("gpu").checked,
      isSmallDevice: matchMedia("(pointer: coarse)").matches || (navigator.deviceMemory ?? 8) < 4,
    });
    const result = await promise;
    if (item.resultUrl) URL.revokeObjectURL(item.resultUrl);
    item.result = { ...result, model, reason };
    item.resultUrl = URL.createObjectURL(result.blob);
    item.state = "done";
    running = null;
    if (isFirst || items.length === 1 || items.indexOf(item) === items.length - 1) showResult(item);
    return true;
  } catch (error) {
    running = null;
    item.state = error === CANCELED ? "waiting" : "failed";
    item.message = error === CANCELED ? "" : error.message;
    if (error === CANCELED) tellStatus("Canceled.");
    else tellAlert(`${item.file.name}: ${error.message}`);
    return error !== CANCELED;
  } finally {
    stopTicking();
    update();
  }
}

const CANCELED = Symbol("canceled");

function startWorker() {
  if (worker) return worker;
  worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.type === "progress" || data.type === "stage") showProgress(data);
    else if (data.type === "done") running?.resolve(data);
    else {
      console.error(data.detail);
      endWorker(); // its memory may be in any state
      running?.reject(new UserError(data.message));
    }
  };
  worker.onerror = (event) => {
    event.preventDefault();
    console.error(event.message);
    endWorker();
    running?.reject(new UserError("The page could not start its worker. Reload the page and try again."));
  };
  return worker;
}

function endWorker() {
  worker?.terminate();
  worker = null;
}

function cancel() {
  endWorker();
  running?.reject(CANCELED);
  element("start").focus();
}

// --- progress: the bar moves between two tiles at the speed of the tiles before ---

let ticking = null;
let last = null;

function showProgress(data) {
  if (data.stage) last = { stage: data.stage };
  else last = { ...data, at: performance.now() };
  drawProgress();
  ticking ??= setInterval(drawProgress, 200);
}

function drawProgress() {
  if (!running || !last) return;
  const name = `${running.prefix}${running.item.file.name}`;
  if (last.stage) {
    element("bar").removeAttribute("value");
    element("progress-text").textContent = `${name}: ${last.stage.toLowerCase()}`;
    return;
  }
  const { done, total, rate, at } = last;
  const since = (performance.now() - at) / 1000;
  const pixels = Math.min(done + rate * since, done + (total - done) * 0.95, total);
  element("bar").value = pixels / total;
  const percent = Math.min(99, Math.floor((100 * pixels) / total));
  const left = (total - pixels) / rate;
  const rest = done === total ? "writing the PNG" : `${percent} %, about ${formatSeconds(left)} left`;
  element("progress-text").textContent = `${name}: ${rest}`;
}

function stopTicking() {
  clearInterval(ticking);
  ticking = null;
  last = null;
}

// --- results ---

function showResult(item) {
  const { result, file } = item;
  shown = item;
  const isShowable = result.width * result.height <= MAX_SHOWN_PIXELS;
  element("comparison").hidden = !isShowable;
  element("no-preview").hidden = isShowable;
  element("result-title").textContent = file.name;
  if (isShowable) {
    const { width, height } = result;
    comparison.show({ before: item.thumbnail, after: item.resultUrl, width, height, name: file.name });
  }
  const size = formatSize(result.width, result.height);
  const line = `${size} pixels, ${formatBytes(result.blob.size)}, ${formatSeconds(result.seconds)}`;
  element("result-line").textContent = line;
  const download = element("download");
  download.href = item.resultUrl;
  download.download = nameOf(item);
  download.hidden = false;
  fillFacts(item);
  tellStatus(`Done: ${file.name}, ${line}.`);
  update();
  element("result").focus({ preventScroll: true });
  element("result").scrollIntoView({ block: "nearest", behavior: "smooth" });
}

function nameOf({ file, result }) {
  return resultName(file.name, result.model.scale > 1 ? `_x${result.model.scale}` : "_restored");
}

function fillFacts({ result }) {
  const { model, reason } = result;
  const device = result.device === "webgpu" ? "graphics processor (WebGPU)"
    : `processor, ${result.threads === 1 ? "1 thread" : `${result.threads} threads`}`; // prettier-ignore
  const measured = model.results.find(({ psnr_y: psnr }) => typeof psnr === "number");
  const facts = [
    ["Input", `${formatSize(result.inputWidth, result.inputHeight)} pixels, ${result.bits} bit`],
    ["Model", `${model.name}${reason ? ` (chosen: ${reason})` : ""}, license ${model.license ?? "not recorded"}`],
    ["Computed on", `${device}, ${result.gflops.toFixed(1)} GFLOP/s`],
    ["Tiles", result.tiles === 1 ? "none: the image ran whole" : `${result.tiles}, with a halo of ${model.halo} pixels`],
    ["Quality", measured && `${measured.psnr_y.toFixed(2)} dB PSNR on ${measured.set} (${measured.setting})`],
    ["Notes", result.notes.join("; ")],
  ];
  element("facts").replaceChildren(
    ...facts.filter(([, value]) => value).flatMap(([name, value]) => [text("dt", name), text("dd", value)]),
  );
  element("details").hidden = false;
}

async function downloadAll() {
  const done = items.filter(({ state }) => state === "done");
  const zip = await makeZip(done.map((item) => ({ name: nameOf(item), blob: item.result.blob })));
  const url = URL.createObjectURL(zip);
  Object.assign(document.createElement("a"), { href: url, download: "restored.zip" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// --- drawing the state ---

function update() {
  const isRunning = running !== null;
  const done = items.filter(({ state }) => state === "done");
  element("start").hidden = isRunning;
  element("start").disabled = items.length === 0 || catalog === null;
  element("start").textContent = items.length && done.length === items.length ? "Start again" : "Start";
  element("cancel").hidden = !isRunning;
  element("progress").hidden = !isRunning;
  element("tasks").disabled = isRunning || catalog === null;
  element("kind").disabled = isRunning;
  element("gpu").disabled = isRunning;
  element("files").disabled = isRunning;
  element("drop").hidden = isRunning;
  element("drop").classList.toggle("compact", items.length > 0);
  element("download-all").hidden = done.length < 2;
  element("list").hidden = items.length === 0;
  for (const item of items) {
    item.row ??= newRow(item);
    const { row, state } = item;
    row.classList.toggle("shown", item === shown);
    const status = row.querySelector(".item-state");
    status.textContent = stateText(item);
    status.classList.toggle("bad", state === "failed");
    row.querySelector(".show").hidden = state !== "done" || item === shown;
    row.querySelector(".remove").hidden = isRunning;
  }
  element("list").replaceChildren(...items.map(({ row }) => row));
}

function stateText({ state, file, result, message }) {
  if (state === "done") return `${formatSize(result.width, result.height)} pixels`;
  if (state === "failed") return message;
  return state === "running" ? "running" : formatBytes(file.size);
}

function newRow(item) {
  const row = document.createElement("li");
  row.className = "item";
  const image = Object.assign(document.createElement("img"), { src: item.thumbnail, alt: "" });
  const middle = document.createElement("div");
  const name = Object.assign(text("div", item.file.name), { className: "item-name", title: item.file.name });
  middle.append(name, Object.assign(text("div", ""), { className: "item-state" }));
  const right = document.createElement("div");
  right.append(
    rowButton("show", "Show", `Show ${item.file.name}`, () => showResult(item)),
    rowButton("remove", "Remove", `Remove ${item.file.name}`, () => remove(item)),
  );
  row.append(image, middle, right);
  return row;
}

function rowButton(className, label, description, action) {
  const button = Object.assign(text("button", label), { className, type: "button" });
  button.setAttribute("aria-label", description);
  button.addEventListener("click", action);
  return button;
}

function text(name, content) {
  return Object.assign(document.createElement(name), { textContent: content });
}

function tellAlert(message) {
  element("alert").textContent = message;
  element("alert").hidden = message === "";
}

function tellStatus(message) {
  element("status").textContent = message;
}

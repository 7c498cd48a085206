// The worker that reads, restores and encodes images, so that the page never blocks. It is ended to cancel.

import { UserError } from "./errors.js";
import { readImage } from "./image_reader.js";
import { Network } from "./network.js";
import { restore } from "./restoration.js";

const MAX_PIXELS = 36e6;
const MAX_RESULT_PIXELS = 200e6;
const MEBIBYTE = 1 << 20;
const OUT_OF_MEMORY = "The browser ran out of memory. Close other tabs, or choose a smaller image.";

let loaded = null; // the last network, with the key that it was opened by

self.onmessage = async ({ data }) => {
  try {
    const result = await run(data);
    self.postMessage({ type: "done", ...result });
  } catch (error) {
    self.postMessage({ type: "error", message: visitorMessage(error), detail: String(error?.stack ?? error) });
  }
};

async function run(job) {
  const started = performance.now();
  tell("Reading the image");
  const maxPixels = Math.min(MAX_PIXELS, MAX_RESULT_PIXELS / job.manifest.scale ** 2);
  const image = await readImage(job.file, maxPixels);
  let result;
  try {
    result = await runImage(image, job);
  } catch (error) {
    if (!job.wantsGpu || error instanceof UserError) throw error;
    // Graphics processors fail in many ways on large tiles; the processor does not.
    console.warn(error);
    loaded = null;
    result = await runImage(image, { ...job, wantsGpu: false });
    result.notes.push("the graphics processor failed, and the processor did the work");
  }
  return { ...result, seconds: (performance.now() - started) / 1000 };
}

async function runImage(image, job) {
  const { manifest } = job;
  const { network, notes, speed } = await openNetwork(job);
  const memory = Math.min((job.isSmallDevice ? 256 : 448) * MEBIBYTE, network.memory);
  let total = 0;
  let done = 0;
  const computing = performance.now();
  const report = () => {
    const seconds = (performance.now() - computing) / 1000;
    const rate = done ? done / seconds : speed; // px per second
    self.postMessage({ type: "progress", done, total, rate });
  };
  const result = await restore(image, network, manifest, {
    memory,
    onPlan: (pixels) => {
      total = pixels;
      report();
    },
    onTile: (pixels) => {
      done += pixels;
      report();
    },
  });
  const now = performance.now();
  return {
    ...result,
    inputWidth: image.width,
    inputHeight: image.height,
    bits: image.bits,
    notes: [...image.notes, ...notes],
    gflops: (total * manifest.flops_per_pixel) / 1e9 / ((now - computing) / 1000),
    device: network.device,
    threads: network.device === "wasm" ? job.threads : 0,
  };
}

async function openNetwork({ manifest, modelUrl, runtime, threads, wantsGpu }) {
  const key = `${modelUrl} ${wantsGpu}`;
  if (loaded?.key === key) return loaded.opened;
  tell("Loading the model");
  if (loaded) await loaded.opened.network.session.release();
  loaded = null;
  const bytes = await fetchModel(modelUrl, manifest);
  const opened = await Network.open(manifest, bytes, runtime, { threads, wantsGpu });
  loaded = { key, opened };
  return opened;
}

async function fetchModel(url, manifest) {
  let bytes;
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`status ${response.status}`);
    bytes = new Uint8Array(await response.arrayBuffer());
  } catch {
    throw new UserError(
      `The model ${manifest.name} could not be loaded. Go online once to load it; then it works offline.`,
    );
  }
  if (self.crypto.subtle) {
    const digest = new Uint8Array(await self.crypto.subtle.digest("SHA-256", bytes));
    const hex = Array.from(digest, (value) => value.toString(16).padStart(2, "0")).join("");
    if (hex !== manifest.sha256) {
      throw new UserError(`The model ${manifest.name} was damaged on its way. Reload the page.`);
    }
  }
  return bytes;
}

function tell(stage) {
  self.postMessage({ type: "stage", stage });
}

function visitorMessage(error) {
  if (error instanceof UserError) return error.message;
  if (/memory|allocat|bad_alloc|array length/i.test(String(error?.message ?? error))) return OUT_OF_MEMORY;
  return "Something went wrong in this browser. Reload the page and try again.";
}

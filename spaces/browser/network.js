// A network in onnxruntime-web, and the checks that its arithmetic is right before an image is trusted to it.

import { UserError } from "./errors.js";

const SAMPLE_SIDE = 64;
const WEBGPU_TOLERANCE = 1 / 255 / 2;

/** A loaded network. */
export class Network {
  /** `memory`: bytes of feature maps that it can hold at once. */
  constructor(ort, session, manifest, device, memory = Infinity) {
    this.ort = ort;
    this.session = session;
    this.manifest = manifest;
    this.device = device;
    this.memory = memory;
  }

  /**
   * Loads a network and checks it.
   *
   * @param {object} manifest facts of the network
   * @param {Uint8Array} bytes of the ONNX file
   * @param {string} runtime folder of onnxruntime-web, with a slash at the end
   * @param {{threads: number, wantsGpu: boolean}} options
   * @returns {Promise<{network: Network, notes: string[], speed: number}>} `speed`: px per second of a small
   *   image
   */
  static async open(manifest, bytes, runtime, { threads, wantsGpu }) {
    const notes = [];
    const ort = await import(`${runtime}${wantsGpu ? "ort.jspi.min.mjs" : "ort.wasm.min.mjs"}`);
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = runtime;
    ort.env.logLevel = "error";
    const cpu = new Network(ort, await createSession(ort, bytes, "wasm"), manifest, "wasm");
    const speed = await cpu.check();
    if (!wantsGpu) return { network: cpu, notes, speed };
    try {
      // A feature map is one buffer, and the largest one takes less than all that are held.
      const { limits } = await navigator.gpu.requestAdapter();
      const memory = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
      const gpu = new Network(ort, await createSession(ort, bytes, "webgpu"), manifest, "webgpu", memory);
      await gpu.compare(cpu);
      const gpuSpeed = await gpu.check();
      await cpu.session.release();
      return { network: gpu, notes, speed: gpuSpeed };
    } catch (error) {
      notes.push(`the graphics processor was not used (${reason(error)})`);
      return { network: cpu, notes, speed };
    }
  }

  /**
   * Runs one tile.
   * @param {Float32Array} planes RGB in [0, 1], planar
   * @returns {Promise<Float32Array>} RGB, planar, height and width times the scale
   */
  async run(planes, height, width) {
    const { input, output } = this.manifest;
    const image = new this.ort.Tensor("float32", planes, [1, 3, height, width]);
    const results = await this.session.run({ [input]: image });
    const data = await results[output].getData();
    results[output].dispose();
    return data;
  }

  /** Compares images of one color with what torch returned; returns the speed in px per second. */
  async check() {
    const { side, colors, outputs, tolerance } = this.manifest.flat_check;
    const area = side * side;
    const resultSide = side * this.manifest.scale;
    const center = (resultSide >> 1) * (resultSide + 1);
    let seconds = 0;
    for (const [index, color] of colors.entries()) {
      const planes = new Float32Array(3 * area);
      color.forEach((value, channel) => planes.fill(value, channel * area, (channel + 1) * area));
      const started = performance.now();
      const result = await this.run(planes, side, side);
      seconds = (performance.now() - started) / 1000;
      outputs[index].forEach((expected, channel) => {
        const found = result[channel * resultSide * resultSide + center];
        if (!(Math.abs(found - expected) <= tolerance)) {
          throw new UserError(
            `This browser computes wrong results (${found} instead of ${expected} for one color). ` +
              "Try another browser, or update this one.",
          );
        }
      });
    }
    return area / Math.max(seconds, 1e-4);
  }

  /** Compares a small image with the result of another network; throws if they differ. */
  async compare(other) {
    const planes = Float32Array.from({ length: 3 * SAMPLE_SIDE ** 2 }, (_, at) => pattern(at));
    const expected = await other.run(planes, SAMPLE_SIDE, SAMPLE_SIDE);
    const found = await this.run(planes, SAMPLE_SIDE, SAMPLE_SIDE);
    for (let at = 0; at < expected.length; at += 1) {
      if (!(Math.abs(found[at] - expected[at]) <= WEBGPU_TOLERANCE)) {
        throw new Error("its results differ from those of the processor");
      }
    }
  }
}

function createSession(ort, bytes, provider) {
  return ort.InferenceSession.create(bytes, {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
    enableMemPattern: false, // patterns are kept for each tile size and only cost memory here
  });
}

/** A repeatable pattern of gradients and noise in [0, 1]. */
function pattern(at) {
  const noise = Math.abs(Math.sin(at * 12.9898) * 43758.5453) % 1;
  return 0.5 * noise + (0.5 * (at % SAMPLE_SIDE)) / SAMPLE_SIDE;
}

function reason(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 160);
}

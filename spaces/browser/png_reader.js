// PNG decoded exactly: 1 to 16 bits, straight alpha, colors as they are stored. A canvas would convert colors
// and multiply them by alpha.

import { UserError } from "./errors.js";
import { readOrientation } from "./exif.js";
import { paeth } from "./png_writer.js";

const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const DEPTHS = { 0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16] };
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];
const COLOR_CHUNKS = ["iCCP", "cICP", "gAMA", "cHRM", "sRGB"];
const XMP = "XML:com.adobe.xmp\0";
const MAX_XMP_BYTES = 1 << 26;
const DAMAGED = "The file is damaged or incomplete.";

/**
 * Decodes a PNG.
 *
 * @param {Uint8Array} bytes of the file
 * @param {number} maxPixels above which nothing is decoded
 * @returns an image as `readImage` describes it, not yet turned upright, and its EXIF `orientation`; `xmp` as in the
 *   file
 * @throws {UserError} it is damaged, animated or too large
 */
export async function readPng(bytes, maxPixels) {
  const chunks = readChunks(bytes);
  const { width, height, depth, colorType, isInterlaced } = readHeader(chunks);
  if (width * height > maxPixels) throw tooLarge(width, height, maxPixels);
  if (chunks.some(({ name }) => name === "acTL")) {
    throw new UserError("Animated images are not supported. Save one frame as an image.");
  }
  const channels = CHANNELS[colorType];
  const samples = new (depth === 16 ? Uint16Array : Uint8Array)(width * height * channels);
  const passes = isInterlaced ? ADAM7 : [[0, 0, 1, 1]];
  const reader = new ByteReader(inflate(chunks));
  for (const [left, top, across, down] of passes) {
    const passWidth = Math.ceil((width - left) / across);
    const passHeight = Math.ceil((height - top) / down);
    if (passWidth <= 0 || passHeight <= 0) continue;
    const rowBytes = Math.ceil((passWidth * channels * depth) / 8);
    let above = new Uint8Array(rowBytes);
    for (let row = 0; row < passHeight; row += 1) {
      const filtered = await reader.take(rowBytes + 1);
      const line = unfilter(filtered, above, Math.max(1, (channels * depth) / 8));
      const target = (top + row * down) * width + left;
      unpack(line, depth, passWidth, channels, samples, target, across);
      above = line;
    }
  }
  reader.cancel();
  const image = finish(samples, { width, height, depth, colorType }, chunks);
  const { xmp, notes } = await readXmp(chunks);
  return { ...image, xmp, notes: [...image.notes, ...notes] };
}

/** The error for an image that has too many px. */
export function tooLarge(width, height, maxPixels) {
  return new UserError(
    `The image has ${(width * height * 1e-6).toFixed(0)} million pixels; the page takes up to ` +
      `${(maxPixels * 1e-6).toFixed(0)} million. Reduce it first, or use hfsr on your computer.`,
  );
}

function readChunks(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const name = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    chunks.push({ name, data: bytes.subarray(at + 8, Math.min(at + 8 + length, bytes.length)) });
    if (name === "IEND") break;
    at += length + 12;
  }
  return chunks;
}

function readHeader(chunks) {
  const data = chunks[0]?.name === "IHDR" ? chunks[0].data : new Uint8Array(0);
  if (data.length < 13) throw new UserError(DAMAGED);
  const view = new DataView(data.buffer, data.byteOffset);
  const found = {
    width: view.getUint32(0),
    height: view.getUint32(4),
    depth: data[8],
    colorType: data[9],
    isInterlaced: data[12] === 1,
  };
  const isKnown = DEPTHS[found.colorType]?.includes(found.depth);
  if (!isKnown || found.width === 0 || found.height === 0) throw new UserError(DAMAGED);
  return found;
}

/** The XMP packet of the last text chunk that holds one. */
async function readXmp(chunks) {
  const isPacket = ({ name, data }) => name === "iTXt" && String.fromCharCode(...data.subarray(0, XMP.length)) === XMP;
  const data = chunks.findLast(isPacket)?.data;
  if (!data) return { xmp: null, notes: [] };
  const language = data.indexOf(0, XMP.length + 2);
  const keyword = data.indexOf(0, language + 1);
  const packet = language < 0 || keyword < 0 ? new Uint8Array(0) : data.slice(keyword + 1);
  if (data[XMP.length] !== 1) return { xmp: packet, notes: [] };
  const reader = new ByteReader(new Blob([packet]).stream().pipeThrough(new DecompressionStream("deflate")));
  const inflated = await reader.takeAll(MAX_XMP_BYTES);
  if (inflated) return { xmp: inflated, notes: [] };
  return { xmp: null, notes: ["its XMP is damaged, or larger than 64 MiB, and was left out"] };
}

function inflate(chunks) {
  const parts = chunks.filter(({ name }) => name === "IDAT").map(({ data }) => data);
  return new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
}

/** Reads a stream in pieces of the wanted length. */
class ByteReader {
  constructor(stream) {
    this.reader = stream.getReader();
    this.held = new Uint8Array(0);
    this.at = 0;
  }

  async take(count) {
    if (this.held.length - this.at >= count) return this.held.subarray(this.at, (this.at += count));
    const result = new Uint8Array(count);
    let filled = 0;
    for (;;) {
      const part = this.held.subarray(this.at, this.at + count - filled);
      result.set(part, filled);
      filled += part.length;
      this.at += part.length;
      if (filled === count) return result;
      let next;
      try {
        next = await this.reader.read();
      } catch {
        throw new UserError(DAMAGED);
      }
      if (next.done) throw new UserError(DAMAGED);
      this.held = next.value;
      this.at = 0;
    }
  }

  /** All bytes; null if they are damaged or more than `maxBytes`. */
  async takeAll(maxBytes) {
    const parts = [];
    let total = 0;
    for (;;) {
      let next;
      try {
        next = await this.reader.read();
      } catch {
        return null;
      }
      if (next.done) return new Uint8Array(await new Blob(parts).arrayBuffer());
      total += next.value.length;
      if (total > maxBytes) {
        this.cancel();
        return null;
      }
      parts.push(next.value);
    }
  }

  cancel() {
    this.reader.cancel().catch(() => {}); // what follows the last row does not matter
  }
}

function unfilter(filtered, above, pixelBytes) {
  const line = new Uint8Array(filtered.length - 1);
  const kind = filtered[0];
  if (kind > 4) throw new UserError(DAMAGED);
  for (let at = 0; at < line.length; at += 1) {
    const left = at < pixelBytes ? 0 : line[at - pixelBytes];
    const up = above[at];
    const corner = at < pixelBytes ? 0 : above[at - pixelBytes];
    const guess =
      kind === 0 ? 0
      : kind === 1 ? left
      : kind === 2 ? up
      : kind === 3 ? (left + up) >> 1
      : paeth(left, up, corner);
    line[at] = filtered[at + 1] + guess;
  }
  return line;
}

/** Writes the samples of one row of a pass to their places. */
function unpack(line, depth, width, channels, samples, target, step) {
  const mask = (1 << depth) - 1;
  for (let x = 0; x < width; x += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      const index = x * channels + channel;
      let value;
      if (depth === 8) value = line[index];
      else if (depth === 16) value = (line[2 * index] << 8) | line[2 * index + 1];
      else value = (line[(index * depth) >> 3] >> (8 - depth - ((index * depth) & 7))) & mask;
      samples[(target + x * step) * channels + channel] = value;
    }
  }
}

/** Splits samples into colors and alpha, and resolves palettes and transparent colors. */
function finish(samples, { width, height, depth, colorType }, chunks) {
  const find = (name) => chunks.find((chunk) => chunk.name === name)?.data;
  const transparency = find("tRNS");
  const exif = find("eXIf");
  const bits = depth === 16 ? 16 : 8;
  const colorChunks = chunks.filter(({ name }) => COLOR_CHUNKS.includes(name));
  const common = {
    width,
    height,
    bits,
    colorChunks: colorChunks.map(({ name, data }) => ({ name, data: data.slice() })),
    orientation: exif ? readOrientation(exif) : 1,
    exif: exif ? exif.slice() : null,
    notes: [],
  };
  if (colorType === 3) return { ...common, isGray: false, ...resolvePalette(samples, find("PLTE"), transparency) };
  const count = width * height;
  const Samples = samples.constructor;
  if (colorType === 4 || colorType === 6) {
    const colors = colorType === 4 ? 1 : 3;
    const pixels = new Samples(count * colors);
    const alpha = new Samples(count);
    for (let at = 0; at < count; at += 1) {
      for (let channel = 0; channel < colors; channel += 1) {
        pixels[at * colors + channel] = samples[at * (colors + 1) + channel];
      }
      alpha[at] = samples[at * (colors + 1) + colors];
    }
    return { ...common, isGray: colors === 1, pixels, alpha };
  }
  const channels = CHANNELS[colorType];
  let alpha = null;
  if (transparency && transparency.length >= 2 * channels) {
    const key = Array.from({ length: channels }, (_, i) => (transparency[2 * i] << 8) | transparency[2 * i + 1]);
    alpha = new Samples(count);
    for (let at = 0; at < count; at += 1) {
      const isKey = key.every((value, channel) => samples[at * channels + channel] === value);
      alpha[at] = isKey ? 0 : bits === 16 ? 65535 : 255;
    }
  }
  if (depth < 8) {
    const peak = (1 << depth) - 1;
    for (let at = 0; at < samples.length; at += 1) samples[at] = (samples[at] * 255) / peak;
  }
  return { ...common, isGray: colorType === 0, pixels: samples, alpha };
}

function resolvePalette(samples, palette, transparency) {
  if (!palette) throw new UserError(DAMAGED);
  const pixels = new Uint8Array(samples.length * 3);
  const alpha = transparency ? new Uint8Array(samples.length) : null;
  for (let at = 0; at < samples.length; at += 1) {
    const index = samples[at];
    for (let channel = 0; channel < 3; channel += 1) pixels[3 * at + channel] = palette[3 * index + channel] ?? 0;
    if (alpha) alpha[at] = transparency[index] ?? 255;
  }
  return { pixels, alpha };
}

// The way of an image through a network: tiles in, rounded rows of a PNG out.

import { fillTransparent } from "./alpha_bleed.js";
import { PngWriter } from "./png_writer.js";
import { planTiles, withHalo } from "./tiling.js";

/**
 * Runs an image through a network and returns a PNG.
 *
 * @param image from `readImage`
 * @param network runs one tile: `network.run(planes, height, width)`, RGB float32 in [0, 1], planar
 * @param manifest facts of the network
 * @param {{memory: number, onTile: (pixels: number) => void, onPlan: (pixels: number) => void}} options
 *   `memory`: bytes of feature maps that a tile may take; `onPlan`: receives the px that will be computed, halos
 *   included; `onTile`: those of each finished tile
 * @returns {Promise<{blob: Blob, width: number, height: number, tiles: number}>}
 */
export async function restore(image, network, manifest, { memory, onPlan, onTile }) {
  const { width, height, bits, isGray, alpha } = image;
  const plan = planTiles(image, manifest, memory);
  const hasVaryingAlpha = alpha !== null && alpha.some((value) => value !== alpha[0]);
  onPlan(plan.pixels * (hasVaryingAlpha ? 2 : 1));
  const run = (source, writeRows) => runTiles(source, network, manifest, plan, { writeRows, onTile });
  const { scale } = manifest;
  const Samples = bits === 16 ? Uint16Array : Uint8Array;
  let resultAlpha = null;
  let pixels = image.pixels;
  if (hasVaryingAlpha) {
    resultAlpha = new Samples(width * height * scale * scale);
    let filled = 0;
    await run({ pixels: alpha, isGray: true, width, height, bits }, async (rows) => {
      resultAlpha.set(rows, filled);
      filled += rows.length;
    });
    pixels = fillTransparent(pixels, isGray ? 1 : 3, alpha, width, height);
  }
  const colors = isGray ? 1 : 3;
  const writer = new PngWriter({
    width: width * scale,
    height: height * scale,
    channels: colors + (alpha ? 1 : 0),
    bits,
    colorChunks: image.colorChunks,
    exif: image.exif,
    xmp: image.xmp,
  });
  let written = 0;
  await run({ pixels, isGray, width, height, bits }, async (rows) => {
    if (!alpha) return writer.write(rows);
    const count = rows.length / colors;
    const opacity = resultAlpha?.subarray(written, written + count) ?? new Samples(count).fill(alpha[0]);
    written += count;
    return writer.write(withAlpha(rows, opacity, colors));
  });
  const blob = await writer.finish();
  return { blob, width: width * scale, height: height * scale, tiles: plan.rows.length * plan.columns.length };
}

/** Runs all tiles of an image and passes on whole rows from top to bottom. */
async function runTiles(source, network, manifest, plan, { writeRows, onTile }) {
  const { width, height, bits, isGray } = source;
  const { halo, scale } = manifest;
  const channels = isGray ? 1 : 3;
  const peak = bits === 16 ? 65535 : 255;
  const Samples = bits === 16 ? Uint16Array : Uint8Array;
  const inputLevels = Float32Array.from({ length: peak + 1 }, (_, level) => Math.fround(level / peak));
  for (const rows of plan.rows) {
    const [top, bottom] = withHalo(rows, halo, height);
    const outHeight = (rows[1] - rows[0]) * scale;
    const band = new Samples(outHeight * width * scale * channels);
    for (const columns of plan.columns) {
      const [left, right] = withHalo(columns, halo, width);
      const planes = readPlanes(source, inputLevels, top, bottom, left, right);
      const result = await network.run(planes, bottom - top, right - left);
      const inner = {
        top: (rows[0] - top) * scale,
        left: (columns[0] - left) * scale,
        width: (columns[1] - columns[0]) * scale,
        height: outHeight,
      };
      const size = { width: (right - left) * scale, height: (bottom - top) * scale };
      writeLevels(result, size, inner, band, width * scale, columns[0] * scale, isGray, peak);
      onTile((bottom - top) * (right - left));
    }
    await writeRows(band);
  }
}

/** One tile of the image as the network takes it: RGB, planar, in [0, 1]. */
function readPlanes({ pixels, isGray, width }, levels, top, bottom, left, right) {
  const area = (bottom - top) * (right - left);
  const planes = new Float32Array(3 * area);
  let at = 0;
  for (let y = top; y < bottom; y += 1) {
    for (let x = left; x < right; x += 1, at += 1) {
      const from = y * width + x;
      for (let channel = 0; channel < 3; channel += 1) {
        planes[channel * area + at] = levels[pixels[isGray ? from : 3 * from + channel]];
      }
    }
  }
  return planes;
}

/** Rounds the inner part of a result as hfsr does: clamp to [0, 1], times the peak, half up, in float32. */
function writeLevels(result, size, inner, band, bandWidth, bandLeft, isGray, peak) {
  const area = size.width * size.height;
  const round = Math.fround;
  const level = (value) => {
    const clamped = value > 0 ? (value < 1 ? value : 1) : 0; // not a number becomes 0
    return Math.floor(round(round(clamped * peak) + 0.5));
  };
  for (let y = 0; y < inner.height; y += 1) {
    let from = (inner.top + y) * size.width + inner.left;
    let to = y * bandWidth + bandLeft;
    for (let x = 0; x < inner.width; x += 1, from += 1, to += 1) {
      if (isGray) {
        const sum = round(round(result[from] + result[area + from]) + result[2 * area + from]);
        band[to] = level(round(sum / 3));
      } else {
        band[3 * to] = level(result[from]);
        band[3 * to + 1] = level(result[area + from]);
        band[3 * to + 2] = level(result[2 * area + from]);
      }
    }
  }
}

function withAlpha(rows, opacity, colors) {
  const joined = new rows.constructor(opacity.length * (colors + 1));
  for (let at = 0; at < opacity.length; at += 1) {
    for (let channel = 0; channel < colors; channel += 1) {
      joined[at * (colors + 1) + channel] = rows[at * colors + channel];
    }
    joined[at * (colors + 1) + colors] = opacity[at];
  }
  return joined;
}

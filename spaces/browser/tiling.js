// Geometry of tiles: what each tile owns, and what it reads beyond that (the halo).

import { UserError } from "./errors.js";

/**
 * Splits `length` px into `count` parts of nearly one size that start on a multiple of `multiple`.
 * Returns the parts as [start, stop).
 */
export function splitEvenly(length, count, multiple = 1) {
  const units = Math.ceil(length / multiple);
  const parts = [];
  for (let index = 0; index < count; index += 1) {
    const start = Math.floor((index * units) / count) * multiple;
    const stop = Math.min(Math.floor(((index + 1) * units) / count) * multiple, length);
    if (stop > start) parts.push([start, stop]);
  }
  return parts;
}

/** Extends a part by the halo, clipped to [0, length). */
export function withHalo([start, stop], halo, length) {
  return [Math.max(start - halo, 0), Math.min(stop + halo, length)];
}

/**
 * Plans the tiles of an image: the split with the least arithmetic whose tiles fit into memory.
 *
 * @param {{width: number, height: number}} image
 * @param {{tiling: string, halo: number, size_multiple: number, memory_per_pixel: number,
 *   max_pixels: number | null}} network facts from the manifest
 * @param {number} memory bytes of feature maps that one tile may take
 * @returns {{rows: number[][], columns: number[][], pixels: number}} `pixels`: px that are computed, halos
 *   included
 * @throws {UserError} the network runs whole and the image is too large
 */
export function planTiles({ width, height }, network, memory) {
  if (network.tiling !== "local") {
    if (width * height > network.max_pixels) {
      throw new UserError(
        `This model looks at the whole image at once, and a browser has memory for ` +
          `${millions(network.max_pixels)} million pixels; this image has ${millions(width * height)} million. ` +
          `Choose a smaller image or another model.`,
      );
    }
    return { rows: [[0, height]], columns: [[0, width]], pixels: width * height };
  }
  const limit = Math.max(memory / network.memory_per_pixel, (2 * network.halo + 64 + network.size_multiple) ** 2);
  let best = null;
  const columnSplits = splits(width, network);
  for (const rows of splits(height, network)) {
    for (const columns of columnSplits) {
      if (rows.longest * columns.longest > limit) continue;
      const pixels = rows.total * columns.total;
      if (best === null || pixels < best.pixels) best = { rows: rows.parts, columns: columns.parts, pixels };
      break; // more columns only add halos
    }
  }
  return best;
}

/** All ways to split one side into parts of at least 32 px, with the px that the parts read. */
function splits(length, { halo, size_multiple: multiple }) {
  const found = [];
  for (let count = 1; count === 1 || length / count >= 32; count += 1) {
    const parts = splitEvenly(length, count, multiple);
    const lengths = parts.map((part) => withHalo(part, halo, length)).map(([start, stop]) => stop - start);
    const total = lengths.reduce((sum, each) => sum + each, 0);
    found.push({ parts, total, longest: Math.max(...lengths) });
  }
  return found;
}

function millions(pixels) {
  return (pixels / 1e6).toFixed(pixels < 1e6 ? 2 : 1);
}

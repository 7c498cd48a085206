// Image files as pixels: upright, straight alpha, color values as stored, with the profile that explains them.

import { UserError } from "./errors.js";
import { readOrientation, uprightExif } from "./exif.js";
import { readHeader } from "./headers.js";
import { readPng, tooLarge } from "./png_reader.js";
import { profileChunk } from "./png_writer.js";
import { cleanedXmp } from "./xmp.js";

const BAND_PIXELS = 1 << 20;
/** Formats with alpha whose stored values are kept. */
const STRAIGHT_TYPES = { WebP: "image/webp", GIF: "image/gif" };

/**
 * Reads an image file.
 *
 * @param {Blob} blob the file
 * @param {number} maxPixels above which nothing is decoded
 * @returns {Promise<{width: number, height: number, bits: 8 | 16, isGray: boolean,
 *   pixels: Uint8Array | Uint16Array, alpha: Uint8Array | Uint16Array | null,
 *   colorChunks: {name: string, data: Uint8Array}[], exif: Uint8Array | null, xmp: Uint8Array | null,
 *   notes: string[]}>} `pixels`: RGB or gray, interleaved; `colorChunks`: chunks of a PNG that say how the values are
 *   to be shown; `notes`: what was changed
 * @throws {UserError} it is no image, damaged, animated or too large
 */
export async function readImage(blob, maxPixels) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const header = readHeader(bytes);
  if (header.format === "PNG") {
    const image = await readPng(bytes, maxPixels);
    return withMetadata(turnUpright(image, image.orientation), image);
  }
  const image = await readByBrowser(blob, header, maxPixels);
  return withMetadata({ ...image, notes: [...image.notes, ...header.notes] }, header);
}

/** Adds EXIF and XMP of the file, as they apply to the upright image. */
function withMetadata(image, { exif, xmp }) {
  const upright = exif ? uprightExif(exif) : null;
  const notes = [...image.notes];
  if (exif && !upright) notes.push("its EXIF is damaged and was left out");
  const isTurned = exif ? readOrientation(exif) !== 1 : false;
  const cleaned = xmp?.length ? cleanedXmp(xmp, isTurned) : { xmp: null, notes: [] };
  return { ...image, exif: upright, xmp: cleaned.xmp, notes: [...notes, ...cleaned.notes] };
}

async function readByBrowser(blob, header, maxPixels) {
  const notes = [];
  // The profile of these two formats is known, so that the stored values can be kept beside it. In other files
  // the browser converts the colors to sRGB.
  const keepsValues = (header.format === "JPEG" && header.components !== 4) || header.format === "WebP";
  if (header.components === 4) notes.push("CMYK was converted to sRGB by the browser");
  if (header.format === "AVIF" || header.format === "HEIC") notes.push("colors were converted to sRGB");
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      colorSpaceConversion: keepsValues ? "none" : "default",
      imageOrientation: "from-image",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new UserError(
      header.format === "HEIC"
        ? "This browser does not open HEIC photos. Save the photo as JPEG or PNG."
        : `This ${header.format} file is damaged, or this browser cannot open it.`,
    );
  }
  const { width, height } = bitmap;
  if (width * height > maxPixels) throw tooLarge(width, height, maxPixels);
  const type = STRAIGHT_TYPES[header.format];
  const exact = header.hasAlpha && type && header.orientation === 1
    ? await decodeStraight(blob, type, width, height) : null; // prettier-ignore
  const rgba = exact ?? drawnSamples(bitmap);
  bitmap.close();
  const { pixels, alpha } = splitSamples(rgba, width * height, header.components === 1);
  if (alpha && !exact) notes.push("colors of half-transparent pixels may be off by a few levels");
  const colorChunks = keepsValues && header.profile ? [await profileChunk(header.profile)] : [];
  return { width, height, bits: 8, isGray: header.components === 1, pixels, alpha, colorChunks, notes };
}

/** RGBA of a bitmap, in bands, so that no second copy of the whole image is held. */
function drawnSamples(bitmap) {
  const { width, height } = bitmap;
  const rows = Math.max(1, Math.min(height, Math.floor(BAND_PIXELS / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true, colorSpace: "srgb" });
  const samples = new Uint8Array(width * height * 4);
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, -top);
    samples.set(context.getImageData(0, 0, width, count).data, top * width * 4);
  }
  return samples;
}

/**
 * RGBA with straight alpha, by WebCodecs; null where that is not possible. A canvas multiplies colors by alpha
 * and rounds.
 */
async function decodeStraight(blob, type, width, height) {
  if (typeof ImageDecoder === "undefined") return null;
  let decoder;
  let frame;
  try {
    const data = await blob.arrayBuffer();
    decoder = new ImageDecoder({ type, data, colorSpaceConversion: "none", premultiplyAlpha: "none" });
    frame = (await decoder.decode()).image;
    const isPlain = ["RGBA", "BGRA"].includes(frame.format);
    if (!isPlain || frame.codedWidth !== width || frame.codedHeight !== height) return null;
    const samples = new Uint8Array(frame.allocationSize());
    await frame.copyTo(samples);
    if (frame.format === "BGRA") {
      for (let at = 0; at < samples.length; at += 4) {
        const blue = samples[at];
        samples[at] = samples[at + 2];
        samples[at + 2] = blue;
      }
    }
    return samples;
  } catch {
    return null; // the canvas is the other way, and its loss is in the notes
  } finally {
    frame?.close();
    decoder?.close();
  }
}

function splitSamples(rgba, count, isGray) {
  const channels = isGray ? 1 : 3;
  const pixels = new Uint8Array(count * channels);
  let isOpaque = true;
  for (let at = 0; at < count; at += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      pixels[at * channels + channel] = rgba[4 * at + channel];
    }
    if (rgba[4 * at + 3] !== 255) isOpaque = false;
  }
  if (isOpaque) return { pixels, alpha: null };
  const alpha = new Uint8Array(count);
  for (let at = 0; at < count; at += 1) alpha[at] = rgba[4 * at + 3];
  return { pixels, alpha };
}

/** Turns an image as its EXIF orientation (1 to 8) says. */
export function turnUpright(image, orientation) {
  if (orientation === 1) return image;
  const { width, height } = image;
  const isTransposed = orientation >= 5;
  const [newWidth, newHeight] = isTransposed ? [height, width] : [width, height];
  const source = (x, y) => {
    switch (orientation) {
      case 2: return [width - 1 - x, y];
      case 3: return [width - 1 - x, height - 1 - y];
      case 4: return [x, height - 1 - y];
      case 5: return [y, x];
      case 6: return [y, height - 1 - x];
      case 7: return [width - 1 - y, height - 1 - x];
      default: return [width - 1 - y, x];
    }
  }; // prettier-ignore
  const turn = (samples, channels) => {
    const turned = new samples.constructor(samples.length);
    for (let y = 0; y < newHeight; y += 1) {
      for (let x = 0; x < newWidth; x += 1) {
        const [fromX, fromY] = source(x, y);
        for (let channel = 0; channel < channels; channel += 1) {
          turned[(y * newWidth + x) * channels + channel] = samples[(fromY * width + fromX) * channels + channel];
        }
      }
    }
    return turned;
  };
  return {
    ...image,
    width: newWidth,
    height: newHeight,
    pixels: turn(image.pixels, image.isGray ? 1 : 3),
    alpha: image.alpha && turn(image.alpha, 1),
  };
}

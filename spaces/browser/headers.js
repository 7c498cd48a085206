// What the first bytes of an image file say: format, compression, orientation, color profile.

import { UserError } from "./errors.js";
import { readOrientation } from "./exif.js";
import { countImages, hasIptc } from "./jpeg_segments.js";

/** Luma quantization table of the JPEG standard, annex K; libjpeg scales it by the quality. */
const LUMA = [
  16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
  51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
  120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const PHOTOSHOP = "Photoshop 3.0\0";
const ANIMATED = "Animated images are not supported. Save one frame as an image.";

/**
 * Reads the header of an image file.
 *
 * @param {Uint8Array} bytes the whole file
 * @returns {{format: string, isLossy: boolean, quality: number | null, profile: Uint8Array | null,
 *   components: number | null, hasAlpha: boolean, orientation: number, exif: Uint8Array | null,
 *   xmp: Uint8Array | null, notes: string[]}} `quality` and `components`: of a JPEG; `orientation`: of a WebP, the
 *   only format here for which it matters; `exif`: of a JPEG or WebP, without its "Exif" prefix; `xmp`: of the
 *   same; `notes`: what a PNG of this image cannot hold
 * @throws {UserError} it is no image that browsers open
 */
export function readHeader(bytes) {
  const found = {
    format: "",
    isLossy: false,
    quality: null,
    profile: null,
    components: null,
    hasAlpha: false,
    orientation: 1,
    exif: null,
    xmp: null,
    notes: [],
  };
  if (bytes.length === 0) throw new UserError("The file is empty.");
  if (text(bytes, 1, 4) === "PNG" && bytes[0] === 0x89) return { ...found, format: "PNG" };
  if (bytes[0] === 0xff && bytes[1] === 0xd8) return { ...found, ...readJpeg(bytes) };
  if (text(bytes, 0, 4) === "RIFF" && text(bytes, 8, 12) === "WEBP") return { ...found, ...readWebp(bytes) };
  if (text(bytes, 0, 3) === "GIF") return { ...found, ...readGif(bytes) };
  if (text(bytes, 0, 2) === "BM") return { ...found, format: "BMP" };
  if (text(bytes, 4, 8) === "ftyp") {
    const brand = text(bytes, 8, 12);
    if (brand === "avis") throw new UserError(ANIMATED);
    if (brand === "avif") return { ...found, format: "AVIF", isLossy: true, hasAlpha: true };
    if (["heic", "heix", "mif1", "heim"].includes(brand)) return { ...found, format: "HEIC", isLossy: true };
  }
  if (["II*\0", "MM\0*"].includes(text(bytes, 0, 4))) {
    throw new UserError("Browsers do not open TIFF files. Save the image as PNG.");
  }
  throw new UserError("This is not an image. Choose a PNG, JPEG, WebP, AVIF or GIF file.");
}

function readJpeg(bytes) {
  const profiles = [];
  let quality = null;
  let components = null;
  let exif = null;
  let xmp = null;
  const notes = [];
  for (let at = 2; at + 4 <= bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1];
    if (marker === 0xff) {
      at += 1;
      continue;
    }
    if (marker === 0xda || marker === 0xd9) break;
    const length = (bytes[at + 2] << 8) | bytes[at + 3];
    const body = bytes.subarray(at + 4, at + 2 + length);
    if (marker === 0xe2 && text(body, 0, 11) === "ICC_PROFILE") profiles.push([body[12], body.subarray(14)]);
    if (marker === 0xe1 && text(body, 0, 4) === "Exif") exif ??= body.slice(6);
    if (marker === 0xe1 && text(body, 0, XMP.length) === XMP) xmp = withoutEnd(body.slice(XMP.length));
    if (marker === 0xed && text(body, 0, PHOTOSHOP.length) === PHOTOSHOP && hasIptc(body.subarray(PHOTOSHOP.length))) {
      notes.push("its IPTC was left out: PNG cannot store it");
    }
    if (marker === 0xe2 && text(body, 0, 4) === "MPF\0") {
      const images = countImages(body.subarray(4));
      if (images > 1) notes.push(`only the first of ${images} images was read`);
    }
    if (marker === 0xdb && quality === null) quality = readQuality(body);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) components = body[5];
    at += 2 + length;
  }
  profiles.sort(([first], [second]) => first - second);
  const profile = profiles.length ? concat(profiles.map(([, data]) => data)) : null;
  return { format: "JPEG", isLossy: true, quality, components, profile, exif, xmp, notes };
}

/** The quality at which libjpeg's luma table is nearest to the file's first table. */
function readQuality(body) {
  const isWide = body[0] >> 4 === 1;
  let total = 0;
  for (let index = 0; index < 64; index += 1) {
    total += isWide ? (body[1 + 2 * index] << 8) | body[2 + 2 * index] : body[1 + index];
  }
  let best = 100;
  for (let quality = 100; quality >= 1; quality -= 1) {
    if (Math.abs(tableSum(quality) - total) < Math.abs(tableSum(best) - total)) best = quality;
  }
  return best;
}

function tableSum(quality) {
  const percent = quality < 50 ? Math.floor(5000 / quality) : 200 - 2 * quality;
  return LUMA.reduce((sum, entry) => sum + Math.min(255, Math.max(1, Math.floor((entry * percent + 50) / 100))), 0);
}

function readWebp(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found = { format: "WebP", isLossy: true, profile: null, hasAlpha: false, orientation: 1, exif: null, xmp: null };
  for (let at = 12; at + 8 <= bytes.length; ) {
    const name = text(bytes, at, at + 4);
    const length = view.getUint32(at + 4, true);
    if (name === "ANIM" || name === "ANMF") throw new UserError(ANIMATED);
    if (name === "VP8X") found.hasAlpha = (bytes[at + 8] & 0x10) !== 0;
    if (name === "ICCP") found.profile = bytes.slice(at + 8, at + 8 + length);
    if (name === "EXIF") {
      const exif = bytes.slice(at + 8, at + 8 + length);
      found.exif = text(exif, 0, 4) === "Exif" ? exif.slice(6) : exif;
      found.orientation = readOrientation(found.exif);
    }
    if (name === "XMP ") found.xmp = withoutEnd(bytes.slice(at + 8, at + 8 + length));
    if (name === "VP8L") {
      found.isLossy = false;
      found.hasAlpha = true;
    }
    at += 8 + length + (length % 2);
  }
  return found;
}

/** Counts the frames of a GIF. */
function readGif(bytes) {
  const tableBytes = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  const skipBlocks = (at) => {
    while (at < bytes.length && bytes[at] !== 0) at += bytes[at] + 1;
    return at + 1;
  };
  let frames = 0;
  let at = 13 + tableBytes(bytes[10]);
  while (at < bytes.length && bytes[at] !== 0x3b) {
    if (bytes[at] === 0x21) at = skipBlocks(at + 2);
    else if (bytes[at] === 0x2c) {
      frames += 1;
      at = skipBlocks(at + 11 + tableBytes(bytes[at + 9]));
    } else break;
  }
  if (frames > 1) throw new UserError(ANIMATED);
  return { format: "GIF", hasAlpha: true };
}

/** XMP without the zero bytes after it. */
function withoutEnd(packet) {
  let stop = packet.length;
  while (stop > 0 && packet[stop - 1] === 0) stop -= 1;
  return packet.subarray(0, stop);
}

function text(bytes, start, stop) {
  return String.fromCharCode(...bytes.subarray(start, stop));
}

function concat(parts) {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

// EXIF of an image, as it applies to the upright result: without what describes the file that it came from.

const ORIENTATION = 0x112;
const RESOLUTIONS = [282, 283];
const CAMERA = 0x8769;
const GPS = 0x8825;
/** Tags of the first directory that apply to any copy of the image: the same as in `hfsr/images/metadata/exif.py`. */
const DESCRIPTIVE = new Set([
  ...[269, 270, 271, 272, ORIENTATION, ...RESOLUTIONS, 285, 286, 287, 296, 305, 306, 315, 316, CAMERA, GPS],
  ...[0x4746, 0x4749, 0x8298, 0x9c9b, 0x9c9c, 0x9c9d, 0x9c9e, 0x9c9f],
]);
/** Tags of the camera's directory in px of the source, or with the name of another file. */
const STALE = new Set([0xa002, 0xa003, 0xa004, 0xa20e, 0xa20f, 0xa210, 0x9214, 0xa214]);

/** Orientation, 1 to 8, in a block of EXIF without its "Exif" prefix; 1 if there is none. */
export function readOrientation(exif) {
  const entry = readDirectory(exif, null)?.entries.find(({ tag }) => tag === ORIENTATION);
  const value = entry ? entry.view.getUint16(entry.at + 8, entry.isLittle) : 1;
  return value >= 1 && value <= 8 ? value : 1;
}

/**
 * EXIF for an image that was turned upright. The values stay where they are, so that offsets in them stay right.
 *
 * @param {Uint8Array} exif a block without its "Exif" prefix
 * @returns {Uint8Array | null} a changed copy; null if the block is damaged
 */
export function uprightExif(exif) {
  const copy = exif.slice();
  const isSideways = readOrientation(copy) >= 5;
  const main = readDirectory(copy, null);
  if (main === null) return null;
  const camera = main.entries.find(({ tag }) => tag === CAMERA);
  if (camera) {
    const inner = readDirectory(copy, main.view.getUint32(camera.at + 8, main.isLittle));
    if (inner === null) return null;
    keepEntries(inner, ({ tag }) => !STALE.has(tag));
  }
  const find = (wanted) => main.entries.find(({ tag }) => tag === wanted);
  const orientation = find(ORIENTATION);
  if (orientation) main.view.setUint16(orientation.at + 8, 1, main.isLittle);
  const [across, down] = RESOLUTIONS.map(find);
  if (isSideways && across && down) {
    for (let byte = 2; byte < 12; byte += 1) {
      const value = copy[across.at + byte];
      copy[across.at + byte] = copy[down.at + byte];
      copy[down.at + byte] = value;
    }
  }
  keepEntries(main, ({ tag }) => DESCRIPTIVE.has(tag));
  return copy;
}

/** Entries of a directory at an offset, or of the first one; null if it lies outside of the block. */
function readDirectory(exif, offset) {
  const view = new DataView(exif.buffer, exif.byteOffset, exif.byteLength);
  if (exif.length < 8) return null;
  const order = String.fromCharCode(exif[0], exif[1]);
  if (order !== "II" && order !== "MM") return null;
  const isLittle = order === "II";
  const start = offset ?? view.getUint32(4, isLittle);
  if (start + 2 > exif.length) return null;
  const count = view.getUint16(start, isLittle);
  if (start + 2 + 12 * count > exif.length) return null;
  const entries = Array.from({ length: count }, (_, index) => {
    const at = start + 2 + 12 * index;
    return { tag: view.getUint16(at, isLittle), at, view, isLittle };
  });
  return { exif, view, isLittle, start, entries };
}

/** Removes the other entries of a directory, and its link to the next one, which holds a small image. */
function keepEntries({ exif, view, isLittle, start, entries }, isKept) {
  const kept = entries.filter(isKept);
  kept.forEach(({ at }, index) => exif.copyWithin(start + 2 + 12 * index, at, at + 12));
  exif.fill(0, start + 2 + 12 * kept.length, Math.min(start + 6 + 12 * entries.length, exif.length));
  view.setUint16(start, kept.length, isLittle);
}

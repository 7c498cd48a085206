// Contents of a JPEG's segments that a PNG cannot store: IPTC records, and further images in the file.

const IPTC = 0x0404;
const IMAGES = 0xb002;

/** True if a Photoshop segment, without its "Photoshop 3.0" prefix, holds IPTC records. */
export function hasIptc(resources) {
  const view = new DataView(resources.buffer, resources.byteOffset, resources.byteLength);
  for (let at = 0; at + 12 <= resources.length && view.getUint32(at) === 0x3842494d; ) {
    const nameBytes = resources[at + 6] + 1;
    const sizeAt = at + 6 + nameBytes + (nameBytes % 2);
    if (sizeAt + 4 > resources.length) return false;
    const size = view.getUint32(sizeAt);
    if (view.getUint16(at + 4) === IPTC) return resources[sizeAt + 4] === 0x1c;
    at = sizeAt + 4 + size + (size % 2);
  }
  return false;
}

/**
 * Number of images in a file by its multi-picture segment; previews of the first image do not count.
 *
 * @param {Uint8Array} segment without its "MPF" prefix
 */
export function countImages(segment) {
  const view = new DataView(segment.buffer, segment.byteOffset, segment.byteLength);
  const isLittle = segment[0] === 0x49;
  let count = 1;
  try {
    const start = view.getUint32(4, isLittle);
    const entries = view.getUint16(start, isLittle);
    for (let at = start + 2; at < start + 2 + 12 * entries; at += 12) {
      if (view.getUint16(at, isLittle) !== IMAGES) continue;
      const bytes = view.getUint32(at + 4, isLittle);
      const list = view.getUint32(at + 8, isLittle);
      for (let image = list + 16; image + 16 <= list + bytes; image += 16) {
        const type = view.getUint32(image, isLittle) & 0xffffff;
        if (type >> 16 !== 1) count += 1; // others are large thumbnails
      }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return 1; // a damaged list: only the first image is sure
  }
  return count;
}

// A ZIP without compression, for several PNGs in one download.

import { crc32 } from "./png_writer.js";

const UTF8 = 0x0800;

/**
 * Joins files to a ZIP.
 * @param {{name: string, blob: Blob}[]} files of less than 4 GB in all
 * @returns {Promise<Blob>}
 */
export async function makeZip(files) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const { name, blob } of distinct(files)) {
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const entry = { name: new TextEncoder().encode(name), crc: crc32(bytes), size: bytes.length, offset };
    const local = record(0x04034b50, entry, false);
    parts.push(local, entry.name, blob);
    offset += local.length + entry.name.length + bytes.length;
    directory.push(entry);
  }
  let directoryBytes = 0;
  for (const entry of directory) {
    const central = record(0x02014b50, entry, true);
    parts.push(central, entry.name);
    directoryBytes += central.length + entry.name.length;
  }
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, directory.length, true);
  end.setUint16(10, directory.length, true);
  end.setUint32(12, directoryBytes, true);
  end.setUint32(16, offset, true);
  parts.push(new Uint8Array(end.buffer));
  return new Blob(parts, { type: "application/zip" });
}

/** Numbers names that occur twice: "a.png", "a (2).png". */
function distinct(files) {
  const seen = new Map();
  return files.map(({ name, blob }) => {
    const count = (seen.get(name) ?? 0) + 1;
    seen.set(name, count);
    return { name: count === 1 ? name : name.replace(/(\.[^.]*)?$/, ` (${count})$1`), blob };
  });
}

/** The header of a file before its data, or its entry in the directory at the end. */
function record(signature, { name, crc, size, offset }, isCentral) {
  const view = new DataView(new ArrayBuffer(isCentral ? 46 : 30));
  view.setUint32(0, signature, true);
  let at = 4;
  if (isCentral) {
    view.setUint16(at, 20, true); // made by version 2.0
    at += 2;
  }
  view.setUint16(at, 20, true); // needs version 2.0
  view.setUint16(at + 2, UTF8, true);
  view.setUint16(at + 8, 0x21, true); // 1 January 1980: the day is left out
  view.setUint32(at + 10, crc, true);
  view.setUint32(at + 14, size, true);
  view.setUint32(at + 18, size, true);
  view.setUint16(at + 22, name.length, true);
  if (isCentral) view.setUint32(42, offset, true);
  return new Uint8Array(view.buffer);
}

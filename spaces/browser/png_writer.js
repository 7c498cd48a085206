// PNG written a few rows at a time: the result is never in memory as a whole, only its compressed bytes.

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const COLOR_TYPES = { 1: 0, 2: 4, 3: 2, 4: 6 };
const CRC_TABLE = crcTable();

/** Writer of one PNG. Rows are given from top to bottom; `finish` returns the file. */
export class PngWriter {
  /**
   * @param {{width: number, height: number, channels: 1 | 2 | 3 | 4, bits: 8 | 16,
   *   colorChunks?: {name: string, data: Uint8Array}[], exif?: Uint8Array | null,
   *   xmp?: Uint8Array | null}} options `colorChunks`: iCCP, cICP, gAMA, cHRM or sRGB, written before the pixels;
   *   `exif`: without its "Exif" prefix; `xmp`: a packet, UTF-8
   */
  constructor({ width, height, channels, bits, colorChunks = [], exif = null, xmp = null }) {
    this.height = height;
    this.rowBytes = (width * channels * bits) / 8;
    this.pixelBytes = (channels * bits) / 8;
    this.above = new Uint8Array(this.rowBytes);
    this.rowsWritten = 0;
    this.parts = [SIGNATURE, chunk("IHDR", header(width, height, bits, COLOR_TYPES[channels]))];
    for (const { name, data } of colorChunks) this.parts.push(chunk(name, data));
    if (exif) this.parts.push(chunk("eXIf", exif));
    if (xmp) this.parts.push(chunk("iTXt", xmpText(xmp)));
    const deflate = new CompressionStream("deflate");
    this.input = deflate.writable.getWriter();
    this.collected = this.collect(deflate.readable.getReader());
    this.collected.catch(() => {}); // `finish` reports it
  }

  /**
   * Appends rows.
   * @param {Uint8Array | Uint16Array} samples whole rows, channels interleaved
   */
  async write(samples) {
    const bytes = samples instanceof Uint16Array ? bigEndian(samples) : samples;
    const count = bytes.length / this.rowBytes;
    const filtered = new Uint8Array(count * (this.rowBytes + 1));
    for (let row = 0; row < count; row += 1) {
      const line = bytes.subarray(row * this.rowBytes, (row + 1) * this.rowBytes);
      const target = filtered.subarray(row * (this.rowBytes + 1), (row + 1) * (this.rowBytes + 1));
      filterPaeth(line, this.above, this.pixelBytes, target);
      this.above = line;
    }
    this.above = this.above.slice(); // not the caller's memory
    this.rowsWritten += count;
    await this.input.ready;
    await this.input.write(filtered);
  }

  /** Ends the file and returns it as a Blob. */
  async finish() {
    if (this.rowsWritten !== this.height) {
      throw new Error(`a PNG of ${this.height} rows got ${this.rowsWritten}`);
    }
    await this.input.close();
    await this.collected;
    this.parts.push(chunk("IEND", new Uint8Array(0)));
    return new Blob(this.parts, { type: "image/png" });
  }

  async collect(reader) {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      // A Blob of its own lets the browser move compressed bytes out of the tab's memory.
      this.parts.push(new Blob([chunk("IDAT", value)]));
    }
  }
}

/** An iCCP chunk of a color profile. */
export async function profileChunk(profile) {
  const stream = new Blob([profile]).stream().pipeThrough(new CompressionStream("deflate"));
  const compressed = new Uint8Array(await new Response(stream).arrayBuffer());
  const name = new TextEncoder().encode("ICC Profile\0\0");
  const data = new Uint8Array(name.length + compressed.length);
  data.set(name);
  data.set(compressed, name.length);
  return { name: "iCCP", data };
}

/** The content of a text chunk with XMP: not compressed, without a language. */
function xmpText(xmp) {
  const start = new TextEncoder().encode("XML:com.adobe.xmp\0\0\0\0\0");
  const data = new Uint8Array(start.length + xmp.length);
  data.set(start);
  data.set(xmp, start.length);
  return data;
}

/** CRC-32 of bytes. */
export function crc32(bytes, start = 0, stop = bytes.length) {
  let crc = ~0;
  for (let at = start; at < stop; at += 1) crc = CRC_TABLE[(crc ^ bytes[at]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function header(width, height, bits, colorType) {
  const data = new Uint8Array(13);
  const view = new DataView(data.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  data[8] = bits;
  data[9] = colorType;
  return data;
}

function chunk(name, data) {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let at = 0; at < 4; at += 1) bytes[4 + at] = name.charCodeAt(at);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes, 4, 8 + data.length));
  return bytes;
}

function filterPaeth(line, above, pixelBytes, target) {
  target[0] = 4;
  for (let at = 0; at < line.length; at += 1) {
    const left = at < pixelBytes ? 0 : line[at - pixelBytes];
    const corner = at < pixelBytes ? 0 : above[at - pixelBytes];
    target[at + 1] = line[at] - paeth(left, above[at], corner);
  }
}

/** The one of three neighbors that is nearest to left + above - corner. */
export function paeth(left, above, corner) {
  const toLeft = Math.abs(above - corner);
  const toAbove = Math.abs(left - corner);
  const toCorner = Math.abs(left + above - 2 * corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

function bigEndian(samples) {
  const bytes = new Uint8Array(samples.length * 2);
  for (let at = 0; at < samples.length; at += 1) {
    bytes[2 * at] = samples[at] >> 8;
    bytes[2 * at + 1] = samples[at];
  }
  return bytes;
}

function crcTable() {
  const table = new Int32Array(256);
  for (let index = 0; index < 256; index += 1) {
    let value = index;
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    table[index] = value;
  }
  return table;
}

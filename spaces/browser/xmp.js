// XMP of an image, as it applies to the upright result: the same rules as in `hfsr/images/metadata/xmp.py`.

const TIFF = "http://ns.adobe.com/tiff/1.0/";
const GOOGLE = "http://ns.google.com/photos/1.0/";
const ANY = "[\\w.-]+";
const SPACE = "[ \\t\\n\\r\\f\\v]";
/** Names that do not apply to the result, by namespace; they are removed without a note. */
const STALE = [
  [
    TIFF,
    "ImageWidth|ImageLength|BitsPerSample|Compression|PhotometricInterpretation|SamplesPerPixel|" +
      "PlanarConfiguration|YCbCrSubSampling|YCbCrPositioning",
  ],
  [
    "http://ns.adobe.com/exif/1.0/",
    "PixelXDimension|PixelYDimension|SubjectArea|SubjectLocation|RelatedSoundFile|FocalPlaneXResolution|" +
      "FocalPlaneYResolution|FocalPlaneResolutionUnit",
  ],
  ["http://ns.adobe.com/xap/1.0/", "Thumbnails"],
];
const GAIN_MAP = "its HDR gain map was left out: the result has the standard dynamic range";
const VIDEO = "the video of its motion photo was left out";
const DEPTH = "the depth map, sound or second image that its XMP describes was left out";
const PANORAMA = "its panorama data (GPano) was left out: it is in px of the source";
/** Namespace, names and note of entries that describe a part of the file that is not in the result. */
const PARTS = [
  ["http://ns.adobe.com/hdr-gain-map/1.0/", ANY, GAIN_MAP],
  ["http://ns.apple.com/HDRGainMap/1.0/", ANY, GAIN_MAP],
  ["http://ns.apple.com/pixeldatainfo/1.0/", ANY, null],
  [`${GOOGLE}camera/`, "(?:MotionPhoto|MicroVideo)[\\w.-]*", VIDEO],
  [`${GOOGLE}container/`, ANY, null],
  [`${GOOGLE}container/item/`, ANY, null],
  [`${GOOGLE}depthmap/`, ANY, DEPTH],
  [`${GOOGLE}image/`, ANY, DEPTH],
  [`${GOOGLE}audio/`, ANY, DEPTH],
  [`${GOOGLE}focus/`, ANY, null],
  [`${GOOGLE}panorama/`, ANY, PANORAMA],
  ["http://ns.adobe.com/xmp/note/", "HasExtendedXMP", "the second part of its XMP was left out"],
];
const REGIONS_NOTE = "its face regions were left out, because the image was rotated";
/** Rectangles of faces, relative to the stored image: they are valid unless it is rotated. */
const REGIONS = [
  ["http://www.metadataworkinggroup.com/schemas/regions/", "Regions", REGIONS_NOTE],
  ["http://ns.microsoft.com/photo/1.2/", "RegionInfo", REGIONS_NOTE],
];
const NAME = "[\\p{L}_:][\\p{L}\\p{M}\\p{N}_:.·-]*";
const ATTRIBUTE = `${SPACE}+(${NAME})${SPACE}*=${SPACE}*("[^"<]*"|'[^'<]*')`;
const START_TAG = new RegExp(`<(${NAME})((?:${ATTRIBUTE})*)${SPACE}*(/?)>`, "uy");
const END_TAG = new RegExp(`</(${NAME})${SPACE}*>`, "uy");
const BAD_REFERENCE = /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[\dA-Fa-f]+);)/;
const BAD_CHARACTER = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/;

/**
 * Adapts a packet to the upright result.
 *
 * @param {Uint8Array} packet of the file
 * @param {boolean} isTurned the pixels were rotated or mirrored
 * @returns {{xmp: Uint8Array | null, notes: string[]}} `xmp`: null if the packet is damaged; `notes`: what was
 *   left out
 */
export function cleanedXmp(packet, isTurned) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(packet);
  } catch {
    return { xmp: null, notes: ["its XMP is not UTF-8 and was left out"] };
  }
  const damaged = { xmp: null, notes: ["its XMP is damaged and was left out"] };
  if (!isWellFormed(text)) return damaged;
  const notes = [];
  for (const [space, names, note = null] of [...STALE, ...PARTS, ...(isTurned ? REGIONS : [])]) {
    const { text: rest, isFound } = without(text, space, names);
    text = rest;
    if (isFound && note !== null && !notes.includes(note)) notes.push(note);
  }
  for (const prefix of prefixesOf(text, TIFF)) {
    const name = `${escaped(prefix)}:Orientation`;
    const upright = (_, start) => `${start}1`;
    text = text.replace(new RegExp(`(${SPACE}${name}${SPACE}*=${SPACE}*["'])[^"']*`, "g"), upright);
    text = text.replace(new RegExp(`(<${name}\\b[^>]*>)[^<]*`, "g"), upright);
  }
  return isWellFormed(text) ? { xmp: new TextEncoder().encode(text), notes } : damaged;
}

/** Removes the attributes and elements of a namespace whose names match. */
function without(text, space, names) {
  let isFound = false;
  const remove = () => {
    isFound = true;
    return "";
  };
  for (const prefix of prefixesOf(text, space)) {
    const name = `${escaped(prefix)}:(${names})`;
    const attribute = `${SPACE}+${name}${SPACE}*=${SPACE}*("[^"]*"|'[^']*')`;
    const element = `<${name}(?:${SPACE}[^>]*?)?(?:/>|>.*?</${escaped(prefix)}:\\1${SPACE}*>)${SPACE}*`;
    text = text.replace(new RegExp(attribute, "g"), remove).replace(new RegExp(element, "gs"), remove);
  }
  return { text, isFound };
}

/** The prefixes with which a packet declares a namespace: mostly "tiff", "exif", "xmpNote". */
function prefixesOf(text, space) {
  const declaration = new RegExp(`xmlns:([\\w.-]+)${SPACE}*=${SPACE}*["']${escaped(space)}["']`, "g");
  return new Set(Array.from(text.matchAll(declaration), ([, prefix]) => prefix));
}

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}

/**
 * True if a text is XML whose elements are closed in order. Workers have no parser of XML. Document types are
 * refused: XMP has none, and they can declare entities.
 */
function isWellFormed(text) {
  if (BAD_CHARACTER.test(text)) return false;
  const open = [];
  const start = text.startsWith("\ufeff") ? 1 : 0;
  let hasRoot = false;
  for (let at = start; at < text.length; ) {
    if (text.startsWith("<?", at)) {
      const isMisplaced = /^<\?xml[\s?]/i.test(text.slice(at, at + 6)) && at > start;
      at = after(text, "?>", at + 2);
      if (at < 0 || isMisplaced) return false;
    } else if (text.startsWith("<!--", at)) {
      const end = text.indexOf("--", at + 4);
      if (end < 0 || text[end + 2] !== ">") return false;
      at = end + 3;
    } else if (text.startsWith("<![CDATA[", at)) {
      at = after(text, "]]>", at + 9);
      if (at < 0 || open.length === 0) return false;
    } else if (text.startsWith("</", at)) {
      END_TAG.lastIndex = at;
      const tag = END_TAG.exec(text);
      if (!tag || tag[1] !== open.pop()) return false;
      at = END_TAG.lastIndex;
    } else if (text[at] === "<") {
      START_TAG.lastIndex = at;
      const tag = START_TAG.exec(text);
      if (!tag || BAD_REFERENCE.test(tag[2]) || hasTwins(tag[2]) || (hasRoot && open.length === 0)) return false;
      hasRoot = true;
      if (!tag.at(-1)) open.push(tag[1]);
      at = START_TAG.lastIndex;
    } else {
      const end = text.indexOf("<", at);
      const content = text.slice(at, end < 0 ? text.length : end);
      if (open.length === 0 && /[^ \t\n\r]/.test(content)) return false;
      if (BAD_REFERENCE.test(content) || content.includes("]]>")) return false;
      at += content.length;
    }
  }
  return hasRoot && open.length === 0;
}

function after(text, end, from) {
  const at = text.indexOf(end, from);
  return at < 0 ? -1 : at + end.length;
}

/** True if two attributes have one name. */
function hasTwins(attributes) {
  const names = Array.from(attributes.matchAll(new RegExp(ATTRIBUTE, "gu")), ([, name]) => name);
  return new Set(names).size < names.length;
}

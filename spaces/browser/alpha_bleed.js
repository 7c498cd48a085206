// Fills the color of fully transparent pixels from their surroundings, as hfsr does: what files hold there is
// arbitrary, and a network would draw it into the edge of what is seen.

/**
 * Returns pixels whose transparent ones have the colors around them; the same array if there is nothing to do.
 *
 * @param {Uint8Array | Uint16Array} pixels interleaved
 * @param {number} channels 1 or 3
 * @param {Uint8Array | Uint16Array} alpha opacity; its zeros are filled
 */
export function fillTransparent(pixels, channels, alpha, width, height) {
  const isHidden = (value) => value === 0;
  if (!alpha.some(isHidden) || alpha.every(isHidden)) return pixels;
  const peak = alpha instanceof Uint16Array ? 65535 : 255;
  const weights = Float32Array.from(alpha, (value) => Math.fround(value / peak));
  const filled = pixels.slice();
  for (let channel = 0; channel < channels; channel += 1) {
    const plane = new Float32Array(width * height);
    for (let at = 0; at < plane.length; at += 1) plane[at] = pixels[at * channels + channel];
    const spreadPlane = spread(plane, weights, width, height);
    for (let at = 0; at < plane.length; at += 1) {
      if (alpha[at] === 0) filled[at * channels + channel] = roundHalfEven(spreadPlane[at]);
    }
  }
  return filled;
}

/** Fills pixels of weight 0 by the weighted means around them; each level of a pyramid fills the finer one. */
function spread(values, weights, width, height) {
  if (weights.every((weight) => weight > 0)) return values;
  const halfWidth = Math.ceil(width / 2);
  const halfHeight = Math.ceil(height / 2);
  const coarse = new Float32Array(halfWidth * halfHeight);
  const coarseWeights = new Float32Array(halfWidth * halfHeight);
  for (let y = 0; y < halfHeight; y += 1) {
    for (let x = 0; x < halfWidth; x += 1) {
      let sum = 0;
      let weight = 0;
      let count = 0;
      for (let fineY = 2 * y; fineY < Math.min(2 * y + 2, height); fineY += 1) {
        for (let fineX = 2 * x; fineX < Math.min(2 * x + 2, width); fineX += 1) {
          const at = fineY * width + fineX;
          sum += Math.fround(values[at] * weights[at]);
          weight += weights[at];
          count += 1;
        }
      }
      const at = y * halfWidth + x;
      coarseWeights[at] = weight / count;
      coarse[at] = sum / count / Math.max(coarseWeights[at], 1.1754943508222875e-38);
    }
  }
  const around = spread(coarse, coarseWeights, halfWidth, halfHeight);
  const result = new Float32Array(values.length);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = y * width + x;
      result[at] = weights[at] > 0 ? values[at] : bilinear(around, halfWidth, halfHeight, x, y);
    }
  }
  return result;
}

/** One pixel of a plane enlarged twice by bilinear interpolation. */
function bilinear(plane, width, height, x, y) {
  const sourceX = Math.max((x + 0.5) / 2 - 0.5, 0);
  const sourceY = Math.max((y + 0.5) / 2 - 0.5, 0);
  const left = Math.floor(sourceX);
  const top = Math.floor(sourceY);
  const right = Math.min(left + 1, width - 1);
  const bottom = Math.min(top + 1, height - 1);
  const across = sourceX - left;
  const down = sourceY - top;
  const upper = plane[top * width + left] * (1 - across) + plane[top * width + right] * across;
  const lower = plane[bottom * width + left] * (1 - across) + plane[bottom * width + right] * across;
  return upper * (1 - down) + lower * down;
}

function roundHalfEven(value) {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

// Numbers as people read them.

export function formatBytes(bytes) {
  return bytes >= 1e5 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.max(bytes / 1e3, 0.1).toFixed(1)} KB`;
}

export function formatSeconds(seconds) {
  if (seconds >= 5400) return `${Math.round(seconds / 3600)} hours`;
  if (seconds >= 100) return `${Math.round(seconds / 60)} minutes`;
  return seconds < 1.5 ? "1 second" : `${Math.round(seconds)} seconds`;
}

export function formatSize(width, height) {
  return `${width} × ${height}`;
}

/** "photo.jpg" and a suffix to "photo_x2.png". */
export function resultName(name, suffix) {
  const stem = name.replace(/\.[^.]{1,5}$/, "") || "image";
  return `${stem}${suffix}.png`;
}

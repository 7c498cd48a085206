// The models of the page, grouped by what they do, and the choice of a model for a file.

const KINDS = {
  "-photo": "Photo from the web or a phone",
  "-small": "Any image, quick and less sharp",
};
/** JPEG quality from which the clean models beat their photo models. */
const CLEAN_FROM_QUALITY = { "hfsr-x2": 95, "hfsr-x4": 91 };
const FORMAT = 1;

/**
 * Loads `site.json` and the manifests of its models.
 * @returns {Promise<{site: object, tasks: {id: string, label: string, models: object[]}[]}>}
 */
export async function loadCatalog() {
  const site = await fetchJson("site.json");
  const models = await Promise.all(
    site.models.map(async ({ manifest, url }) => ({ ...(await fetchJson(manifest)), url })),
  );
  if (models.some(({ format }) => format !== FORMAT)) throw new Error("a model was exported by another version");
  return { site, tasks: groupByTask(models) };
}

/** Groups models by scale and task: 2, 3 and 4 times first, then those that keep the size. */
export function groupByTask(models) {
  const tasks = new Map();
  for (const model of models) {
    const id = model.scale > 1 ? `x${model.scale}` : model.task;
    if (!tasks.has(id)) tasks.set(id, { id, label: taskLabel(model), scale: model.scale, models: [] });
    tasks.get(id).models.push(model);
  }
  const order = ({ scale }) => (scale > 1 ? scale : 100);
  return [...tasks.values()].sort((first, second) => order(first) - order(second));
}

/** Words for a model among those of its task. */
export function kindLabel(model, models) {
  const base = models.find(({ name }) => name === model.name.replace(/-(photo|small)$/, ""));
  if (!base || !/^hfsr-/.test(model.name)) return model.name;
  const suffix = model.name.slice(base.name.length);
  if (suffix === "") return models.some(({ name }) => name === `${model.name}-photo`) ? "Clean image" : "Any image";
  return KINDS[suffix] ?? model.name;
}

/**
 * Chooses the model of a task for a file: the photo model for lossy files, the clean one for others.
 * @param {{format: string, isLossy: boolean, quality: number | null}} header
 * @returns {{model: object, reason: string | null}}
 */
export function chooseModel(models, header) {
  for (const photo of models) {
    const clean = models.find(({ name }) => photo.name === `${name}-photo`);
    if (!clean) continue;
    const from = CLEAN_FROM_QUALITY[clean.name] ?? 101;
    const isClean = !header.isLossy || (header.quality !== null && header.quality >= from);
    const what = header.quality === null ? (header.isLossy ? "lossy " : "lossless ") + header.format
      : `JPEG of quality ${header.quality}`; // prettier-ignore
    return { model: isClean ? clean : photo, reason: what };
  }
  return { model: models[0], reason: null };
}

function taskLabel({ scale, task, does }) {
  if (scale > 1) return `Enlarge ${scale}×`;
  if (task === "denoising") return "Remove noise";
  if (task === "jpeg-artifact-removal") return "Remove JPEG artifacts";
  return does.charAt(0).toUpperCase() + does.slice(1);
}

async function fetchJson(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: status ${response.status}`);
  return response.json();
}

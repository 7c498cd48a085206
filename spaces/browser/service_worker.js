// Keeps the page, the runtime and the models for offline use. Small files come from the network as long as there
// is one, so that a new version appears at once; the runtime and models, whose addresses change with their
// content, are loaded once.

const CACHE = "hfsr";

self.addEventListener("install", (event) => {
  event.waitUntil(fill().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  event.waitUntil(removeOld().then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== self.location.origin) return;
  event.respondWith(isLarge(url) ? kept(event.request) : fresh(event.request));
});

function isLarge({ pathname }) {
  return /\/(runtime|models)\//.test(pathname) && !pathname.endsWith(".json");
}

async function kept(request) {
  const cache = await caches.open(CACHE);
  const found = await cache.match(request);
  if (found) return found;
  const response = await fetch(request);
  if (response.ok) await cache.put(request, response.clone());
  return response;
}

async function fresh(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const found = await cache.match(request, { ignoreSearch: request.mode === "navigate" });
    if (found) return found;
    if (request.mode === "navigate") return (await cache.match("./")) ?? Promise.reject(error);
    throw error;
  }
}

async function fill() {
  const cache = await caches.open(CACHE);
  const site = await readSite();
  await cache.addAll(["./", "site.json", ...site.small]);
  for (const address of site.large) {
    if (!(await cache.match(address))) await cache.add(address);
  }
}

async function removeOld() {
  const cache = await caches.open(CACHE);
  const site = await readSite();
  const wanted = ["./", "site.json", ...site.small, ...site.models.map(({ url }) => url)];
  const addresses = new Set(wanted.map((address) => new URL(address, self.registration.scope).href));
  const runtime = new URL(site.runtime, self.registration.scope).href;
  for (const request of await cache.keys()) {
    if (!addresses.has(request.url) && !request.url.startsWith(runtime)) await cache.delete(request);
  }
}

async function readSite() {
  return (await fetch("site.json", { cache: "no-cache" })).json();
}

// The results of a tab: a full-width comparison with zoom, one line of facts, downloads and details.

import { Comparison } from "./comparison.js";

const VIEWER = `
  <div class="viewer-head"><h2 tabindex="-1"></h2><div></div></div>
  <div class="strip" role="group" aria-label="Results"></div>
  <div></div>
  <p class="line"></p>
  <div class="downloads">
    <a class="download main" hidden></a>
    <a class="download all" download="enhanced.zip" hidden>Download all (ZIP)</a>
  </div>
  <details class="facts-block" hidden><summary>Details</summary><dl></dl></details>`;

/** Draws the results that the server writes into `data` into the section of a tab. */
export class Viewer {
  /**
   * @param {HTMLElement} root section that is filled
   */
  constructor(root) {
    root.innerHTML = VIEWER;
    root.setAttribute("aria-label", "Result");
    this.root = root;
    this.title = root.querySelector("h2");
    this.strip = root.querySelector(".strip");
    this.download = root.querySelector(".main");
    this.archive = root.querySelector(".all");
    const zoom = root.querySelector(".viewer-head > div");
    this.comparison = new Comparison(root.querySelector(".strip + div"), zoom);
    this.data = "";
    this.results = [];
  }

  /**
   * Shows new results: of several ones the first, or the one that is shown already.
   * @param {string} data JSON
   * @returns {object | null} the results, or null if they are the same as before
   */
  update(data) {
    if (data === this.data) return null;
    this.data = data;
    const content = JSON.parse(data);
    const former = this.shown?.after;
    this.results = content.results;
    this.root.classList.toggle("example", content.example);
    this.archive.hidden = content.archive === null;
    if (content.archive) this.archive.href = content.archive;
    this.drawStrip();
    if (!this.results.some(({ after }) => after === former)) this.show(this.results[0], content.example);
    this.markShown();
    return content;
  }

  show(result, isExample = false) {
    const { name, file, before, after, width, height, line, details } = result;
    this.shown = result;
    this.title.textContent = name;
    this.comparison.show({ before, after, width, height, name });
    this.root.querySelector(".line").textContent = line;
    this.download.hidden = isExample;
    this.download.href = file;
    this.download.download = name;
    this.download.textContent = `Download ${name.split(".").pop().toUpperCase().replace("JPG", "JPEG")}`;
    this.root.querySelector("details").hidden = details.length === 0;
    this.root.querySelector("dl").replaceChildren(
      ...details.flatMap(([term, value]) => [text("dt", term), text("dd", value)]),
    );
    this.markShown();
  }

  drawStrip() {
    const buttons = this.results.map((result) => {
      const button = Object.assign(text("button", result.name), { type: "button" });
      button.addEventListener("click", () => this.show(result));
      return button;
    });
    this.strip.replaceChildren(...buttons);
    this.strip.hidden = buttons.length < 2;
  }

  markShown() {
    [...this.strip.children].forEach((button, index) => {
      button.setAttribute("aria-pressed", String(this.results[index].after === this.shown.after));
    });
  }
}

function text(name, content) {
  return Object.assign(document.createElement(name), { textContent: content });
}

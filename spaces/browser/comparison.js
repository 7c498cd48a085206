// Before and after in one frame: a handle between them, zoom, and panning by scrolling.

const KEY_STEPS = { ArrowLeft: -5, ArrowRight: 5, ArrowDown: -5, ArrowUp: 5, PageDown: -20, PageUp: 20 };

const ZOOMS = [["fit", "Fit"], ["1", "1:1"], ["2", "2:1"]];
/** Width of a frame, px of CSS, below which both names would overlap. */
const NARROW = 220;
const FRAME = `
  <div class="frame">
    <div class="pane" role="group" aria-label="Before and after; scroll to see other parts" tabindex="0">
      <div class="stage">
        <img class="before" alt="" draggable="false" />
        <img class="after" alt="" draggable="false" />
      </div>
    </div>
    <div class="handle" role="slider" tabindex="0" aria-label="Comparison: before on the left, after on the right"
      aria-orientation="horizontal" aria-valuemin="0" aria-valuemax="100">
      <span class="grip" aria-hidden="true"></span>
    </div>
    <span class="tag tag-before" aria-hidden="true">Before</span>
    <span class="tag tag-after" aria-hidden="true">After</span>
  </div>
  <p class="pan-hint" hidden>Drag the image to see other parts of it.</p>`;

/** The comparison of two images, in elements of the page that it fills. */
export class Comparison {
  /**
   * @param {HTMLElement} root holds the images
   * @param {HTMLElement} zoom holds the buttons Fit, 1:1 and 2:1
   */
  constructor(root, zoom) {
    root.classList.add("comparison");
    root.innerHTML = FRAME;
    this.root = root;
    this.pane = root.querySelector(".pane");
    this.stage = root.querySelector(".stage");
    this.before = root.querySelector(".before");
    this.after = root.querySelector(".after");
    this.handle = root.querySelector(".handle");
    this.hint = root.querySelector(".pan-hint");
    this.zoomButtons = ZOOMS.map(([value, text]) => this.zoomButton(value, text));
    zoom.classList.add("zoom");
    zoom.setAttribute("role", "group");
    zoom.setAttribute("aria-label", "Zoom");
    zoom.replaceChildren(...this.zoomButtons);
    this.at = 50; // percent of the frame
    this.zoom = "1";
    this.size = [1, 1];
    this.handle.addEventListener("keydown", (event) => this.onKey(event));
    this.pane.addEventListener("scroll", () => this.draw());
    new ResizeObserver(() => this.layout()).observe(root);
    this.dragHandle();
    this.dragPane();
  }

  zoomButton(value, text) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    button.dataset.zoom = value;
    button.addEventListener("click", () => this.setZoom(value));
    return button;
  }

  /**
   * Shows two images; `width` and `height` are those of the result.
   * @param {{before: string, after: string, width: number, height: number, name: string}} images addresses
   */
  show({ before, after, width, height, name }) {
    this.before.src = before;
    this.after.src = after;
    this.before.alt = `Before: ${name}`;
    this.after.alt = `After: ${name}`;
    this.size = [width, height];
    this.at = 50;
    this.setZoom("1");
    this.pane.scrollLeft = (this.stage.offsetWidth - this.pane.clientWidth) / 2;
    this.pane.scrollTop = (this.stage.offsetHeight - this.pane.clientHeight) / 2;
    this.draw();
  }

  setZoom(zoom) {
    const [x, y] = this.center();
    this.zoom = zoom;
    for (const button of this.zoomButtons) {
      button.setAttribute("aria-pressed", String(button.dataset.zoom === zoom));
    }
    this.layout();
    this.pane.scrollLeft = x * this.stage.offsetWidth - this.pane.clientWidth / 2;
    this.pane.scrollTop = y * this.stage.offsetHeight - this.pane.clientHeight / 2;
    this.draw();
  }

  /** The middle of what is seen, as shares of the image. */
  center() {
    const share = (scroll, client, whole) => (whole > 0 ? (scroll + client / 2) / whole : 0.5);
    const { pane, stage } = this;
    return [
      share(pane.scrollLeft, pane.clientWidth, stage.offsetWidth),
      share(pane.scrollTop, pane.clientHeight, stage.offsetHeight),
    ];
  }

  layout() {
    const [width, height] = this.size;
    const available = this.root.clientWidth;
    // At 1:1 one pixel of the result is one pixel of the screen.
    const factor = this.zoom === "fit" ? Math.min(1, available / width) : Number(this.zoom) / devicePixelRatio;
    this.stage.style.width = `${width * factor}px`;
    this.stage.style.height = `${height * factor}px`;
    const frame = Math.min(available, width * factor);
    this.root.style.setProperty("--frame", `${frame}px`);
    this.root.classList.toggle("narrow", frame < NARROW); // Gradio drops container queries
    this.after.classList.toggle("pixelated", factor * devicePixelRatio > 1);
    this.hint.hidden = width * factor <= available + 1 && this.pane.scrollHeight <= this.pane.clientHeight + 1;
    this.draw();
  }

  draw() {
    const x = (this.at / 100) * this.pane.clientWidth;
    this.after.style.clipPath = `inset(0 0 0 ${this.pane.scrollLeft + x}px)`;
    this.handle.style.left = `${x}px`;
    const percent = Math.round(this.at);
    this.handle.setAttribute("aria-valuenow", String(percent));
    this.handle.setAttribute("aria-valuetext", `${percent} percent before, ${100 - percent} percent after`);
  }

  moveTo(percent) {
    this.at = Math.min(100, Math.max(0, percent));
    this.draw();
  }

  onKey(event) {
    const step = KEY_STEPS[event.key];
    if (step !== undefined) this.moveTo(this.at + (event.shiftKey ? Math.sign(step) : step));
    else if (event.key === "Home") this.moveTo(0);
    else if (event.key === "End") this.moveTo(100);
    else return;
    event.preventDefault();
  }

  dragHandle() {
    this.handle.addEventListener("pointerdown", (event) => {
      this.handle.setPointerCapture(event.pointerId);
      event.preventDefault();
      this.handle.focus({ preventScroll: true });
    });
    this.handle.addEventListener("pointermove", (event) => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      const frame = this.pane.getBoundingClientRect();
      this.moveTo((100 * (event.clientX - frame.left)) / frame.width);
    });
  }

  /** A mouse pans by dragging; fingers scroll anyway. */
  dragPane() {
    let last = null;
    this.pane.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse" || event.button !== 0) return;
      last = [event.clientX, event.clientY];
      this.pane.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    this.pane.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.pane.scrollLeft -= event.clientX - last[0];
      this.pane.scrollTop -= event.clientY - last[1];
      last = [event.clientX, event.clientY];
    });
    for (const name of ["pointerup", "pointercancel"]) this.pane.addEventListener(name, () => (last = null));
  }
}

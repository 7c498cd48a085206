// Adds to Gradio's page: names for screen readers, keyboard control of the comparison slider, scrolling to the
// progress and the result, and keyboard focus that survives a disabled button.
() => {
    const FINE = 1, COARSE = 5, PAGE = 20;  // percent of the image's width

    // Position of the image on the screen; it is centered in its box and keeps its aspect ratio.
    const imagePosition = (slider) => {
        const image = slider.parentElement.querySelector("img:last-of-type");
        const box = image.parentElement.getBoundingClientRect();
        const width = Math.min(box.width, box.height * image.naturalWidth / image.naturalHeight) || 1;
        return {left: box.left + (box.width - width) / 2, width};
    };

    // Position of the handle in percent of the image; Gradio moves it by a CSS transform.
    const handlePosition = (slider) => {
        const {left, width} = imagePosition(slider);
        const x = new DOMMatrix(getComputedStyle(slider).transform).m41;
        const start = slider.parentElement.getBoundingClientRect().left;
        return Math.max(0, Math.min(100, 100 * (start + x - left) / width));
    };

    // Gradio's handle reacts to the mouse only, so mouse events are dispatched to it.
    const move = (slider, percent) => {
        const {left, width} = imagePosition(slider);
        const middle = slider.getBoundingClientRect();
        const event = {
            clientX: left + width * Math.max(0, Math.min(100, percent)) / 100,
            clientY: middle.top + middle.height / 2,
            bubbles: true, cancelable: true, view: window,
        };
        slider.dispatchEvent(new MouseEvent("mousedown", event));
        window.dispatchEvent(new MouseEvent("mouseup", event));
    };

    const KEYS = {
        ArrowLeft: (at, step) => at - step, ArrowDown: (at, step) => at - step,
        ArrowRight: (at, step) => at + step, ArrowUp: (at, step) => at + step,
        PageDown: (at) => at - PAGE, PageUp: (at) => at + PAGE, Home: () => 0, End: () => 100,
    };

    const makeOperable = (slider) => {
        Object.assign(slider, {
            tabIndex: 0, role: "slider", ariaLabel: "Comparison: before on the left, after on the right",
            ariaValueMin: 0, ariaValueMax: 100, ariaOrientation: "horizontal",
        });
        const updateValue = () => {
            const before = Math.round(handlePosition(slider));
            slider.ariaValueNow = before;
            slider.ariaValueText = `${before} percent before, ${100 - before} percent after`;
        };
        new MutationObserver(updateValue).observe(slider, {attributes: true, attributeFilter: ["style"]});
        slider.addEventListener("keydown", (event) => {
            const target = KEYS[event.key];
            if (!target || event.ctrlKey || event.metaKey || event.altKey) return;
            event.preventDefault();
            move(slider, target(handlePosition(slider), event.shiftKey ? FINE : COARSE));
        });
        updateValue();
    };

    // Scrolls to what a visitor waits for; on a phone the report is below the visible part of the page.
    const scrollTo = (element, block) => {
        const isReduced = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
        element.scrollIntoView({behavior: isReduced ? "auto" : "smooth", block});
    };

    // Scrolls to the report when a job starts, and to the comparison when it is there.
    const followJob = (report) => {
        const isBusy = report.querySelector("progress") !== null;
        const wasBusy = report.dataset.busy === "true";
        if (isBusy && !wasBusy) scrollTo(report, "nearest");
        report.dataset.busy = isBusy;
        if (wasBusy && !isBusy && !report.querySelector(".idle")) report.dataset.done = "true";
        const comparison = report.closest(".column")?.querySelector(".comparison");
        if (report.dataset.done === "true" && comparison?.offsetHeight > 0) {
            report.dataset.done = "false";
            // The comparison has its final height when its images are loaded and laid out.
            const images = [...comparison.querySelectorAll("img")].map((image) => image.decode().catch(() => {}));
            Promise.all(images).then(() => setTimeout(() => scrollTo(comparison, "nearest"), 200));
        }
    };

    // Disabling a focused button moves the focus to the body; moves it on to the button that can be used.
    const keepFocus = (row) => {
        const [start, stop] = row.querySelectorAll("button");
        if (!start || !stop) return;
        if (!row.dataset.watched) {
            row.dataset.watched = "true";
            for (const button of [start, stop])
                button.addEventListener("click", () => { row.dataset.focus = "true"; });
        }
        const isLost = document.activeElement === document.body;
        if (row.dataset.focus !== "true" || !isLost) return;
        if (start.disabled && !stop.disabled) stop.focus({preventScroll: true});
        else if (!start.disabled && stop.disabled) {
            start.focus({preventScroll: true});
            row.dataset.focus = "false";
        }
    };

    const addNames = () => {
        for (const list of document.querySelectorAll("[id$=-examples]"))
            list.querySelectorAll("button").forEach((button, index) => button.ariaLabel = `Example image ${index + 1}`);
        for (const slider of document.querySelectorAll(".comparison [data-testid=slider]:not([tabindex])"))
            makeOperable(slider);
        for (const pair of document.querySelectorAll(".comparison .content"))
            pair.querySelectorAll("img").forEach((image, index) => image.alt = ["Before", "After"][index]);
        for (const report of document.querySelectorAll(".report.prose")) {
            report.role = "status";
            report.ariaBusy = report.querySelector("progress") !== null;  // announce the end, not every tile
            followJob(report);
        }
        document.querySelectorAll(".buttons").forEach(keepFocus);
    };
    new MutationObserver(addNames).observe(
        document.body, {childList: true, subtree: true, attributes: true, attributeFilter: ["disabled"]},
    );
    addNames();
}

// What gradio's page lacks: names for screen readers, and keys for the slider between before and after.
() => {
    const FINE = 1, COARSE = 5, LEAP = 20;  // per cent of the picture's width

    // The picture's place on the screen: it is centred in its box, with its own proportions.
    const picture = (slider) => {
        const image = slider.parentElement.querySelector("img:last-of-type");
        const box = image.parentElement.getBoundingClientRect();
        const width = Math.min(box.width, box.height * image.naturalWidth / image.naturalHeight) || 1;
        return {left: box.left + (box.width - width) / 2, width};
    };

    // Where the handle stands, in per cent of the picture; gradio moves it by its transform.
    const position = (slider) => {
        const {left, width} = picture(slider);
        const x = new DOMMatrix(getComputedStyle(slider).transform).m41;
        const start = slider.parentElement.getBoundingClientRect().left;
        return Math.max(0, Math.min(100, 100 * (start + x - left) / width));
    };

    // Gradio's handle listens to the mouse alone: it is told that the mouse went there.
    const move = (slider, percent) => {
        const {left, width} = picture(slider);
        const middle = slider.getBoundingClientRect();
        const place = {
            clientX: left + width * Math.max(0, Math.min(100, percent)) / 100,
            clientY: middle.top + middle.height / 2,
            bubbles: true, cancelable: true, view: window,
        };
        slider.dispatchEvent(new MouseEvent("mousedown", place));
        window.dispatchEvent(new MouseEvent("mouseup", place));
    };

    const KEYS = {
        ArrowLeft: (at, step) => at - step, ArrowDown: (at, step) => at - step,
        ArrowRight: (at, step) => at + step, ArrowUp: (at, step) => at + step,
        PageDown: (at) => at - LEAP, PageUp: (at) => at + LEAP, Home: () => 0, End: () => 100,
    };

    const makeOperable = (slider) => {
        Object.assign(slider, {
            tabIndex: 0, role: "slider", ariaLabel: "Comparison: before on the left, after on the right",
            ariaValueMin: 0, ariaValueMax: 100, ariaOrientation: "horizontal",
        });
        const tell = () => {
            const before = Math.round(position(slider));
            slider.ariaValueNow = before;
            slider.ariaValueText = `${before} per cent before, ${100 - before} per cent after`;
        };
        new MutationObserver(tell).observe(slider, {attributes: true, attributeFilter: ["style"]});
        slider.addEventListener("keydown", (event) => {
            const target = KEYS[event.key];
            if (!target || event.ctrlKey || event.metaKey || event.altKey) return;
            event.preventDefault();
            move(slider, target(position(slider), event.shiftKey ? FINE : COARSE));
        });
        tell();
    };

    const name = () => {
        for (const list of document.querySelectorAll("[id$=-examples]"))
            list.querySelectorAll("button").forEach((button, index) => button.ariaLabel = `Example picture ${index + 1}`);
        for (const slider of document.querySelectorAll(".comparison [data-testid=slider]:not([tabindex])"))
            makeOperable(slider);
        for (const pair of document.querySelectorAll(".comparison .content"))
            pair.querySelectorAll("img").forEach((image, index) => image.alt = ["Before", "After"][index]);
        for (const report of document.querySelectorAll(".report.prose")) {
            report.role = "status";
            report.ariaBusy = report.querySelector("progress") !== null;  // read out when it is done, not each piece
        }
    };
    new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
    name();
}

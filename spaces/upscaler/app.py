"""The Space of hfsr, and what `hfsr demo` starts: drop a picture, press one button, compare, download.

The picture goes to `hfsr.Upscaler.steps` as a file and comes back as a file, so the PNG here is, pixel for
pixel, what `hfsr upscale` writes with the same tile, dtype and backend. The menu is `models.yml`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

try:
    import spaces  # ZeroGPU's package, before torch; beside a checkout of hfsr, our folder of that name
except ImportError:
    spaces = None

import gradio as gr
from gradio.utils import get_upload_folder

import hfsr
from hfsr import images
from hfsr.samples import SAMPLE

HERE = Path(__file__).resolve().parent
MAX_UPLOAD = "50mb"
MAX_PIXELS = 16_000_000  # of the picture given: a small file can decode to gigapixels
MAX_SHOWN = 12_000_000  # px of the comparison: browsers choke on more; the download is always whole
MAX_WAITING = 8  # visitors in the queue; one job runs at a time
KEEP_SECONDS = 3600  # how long uploads and results stay on the server

TILES = {"64 px": "64", "128 px": "128", "256 px": "256", "512 px": "512", "as memory allows": "auto"}
DTYPES = {"automatic": "auto", "fp32, most exact": "fp32", "bf16, faster": "bf16"}
IDLE = "<p>Your result appears here, with a slider to compare it with the picture you gave.</p>"
# For screen readers; the buttons may come after the page has loaded, or be made anew.
NAME_EXAMPLES = """() => {
    const name = () => document.querySelectorAll('#examples button').forEach(
        (button, index) => button.ariaLabel = `Example picture ${index + 1}`);
    new MutationObserver(name).observe(document.body, {childList: true, subtree: true});
    name();
}"""

on_gpu = getattr(spaces, "GPU", None) or (lambda **_: lambda function: function)


# The work


def offered(path: Path = HERE / "models.yml") -> dict[str, str]:
    """Reads the list file: what the menu shows -> model, in the file's order."""
    tasks = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {f"{task} {label}": name for task, models in tasks.items() for label, name in models.items()}


@lru_cache(maxsize=4)
def load(model: str) -> Any:
    """A model stays in memory, so that only its first visitor waits for it."""
    return hfsr.from_pretrained(model)


@on_gpu(duration=120)
def restore(source: Path, png: Path, model: str, tile: str, dtype: str) -> Iterator[tuple[str, str]]:
    """Writes the result to `png`; yields, after each piece, how far it is and how it is made.

    Closing it stops after the piece at hand and leaves no file. On ZeroGPU it runs in a process of its own.
    """
    with readable(source):
        upscaler = hfsr.Upscaler(load(model), tile=tile, dtype=dtype)
        with closing(upscaler.steps(source, png, max_pixels=MAX_PIXELS)) as pieces:
            for piece in pieces:
                yield told(piece), upscaler.summary


def process(source: Path, model: str, tile: str, dtype: str) -> Iterator[tuple[Any, Path | None, str]]:
    """Yields before and after, the PNG, and what to say; the first two are None until the last time."""
    started = time.monotonic()
    yield None, None, bar("Getting ready")
    with readable(source), TemporaryDirectory(prefix="hfsr-") as folder:
        scale = load(model).scale
        png = Path(folder, f"{source.stem}_x{scale:g}.png")
        with closing(restore(source, png, model, tile, dtype)) as news:
            for said, how in news:  # noqa: B007 - the last is told at the end
                yield None, None, said
        before, after, sizes = compare(source, png, scale)
        cost = f"{png.stat().st_size / 1e6:.1f} MB of PNG in {in_words(time.monotonic() - started)}"
        yield (before, after), png, f"<p><strong>{sizes}</strong></p><p>{cost}. {how}.</p>"


def compare(source: Path, png: Path, scale: float) -> tuple[Path, Path, str]:
    """Before and after as PNGs of one size, so that they lie on each other, and what to say of their sizes.

    Before is enlarged by bicubic, as any viewer would; both are reduced where they are too large to show.
    """
    before, after = images.picture_to_pil(images.read_picture(source)), png
    shown = width, height = [int(side * scale + 1e-6) for side in before.size]
    sizes = f"{before.width} × {before.height} px became {width} × {height} px."
    if width * height > MAX_SHOWN:
        sizes += " The comparison is reduced, the download is not."
        shown = [round(side * (MAX_SHOWN / (width * height)) ** 0.5) for side in shown]
        whole = images.picture_to_pil(images.read_picture(png, max_pixels=width * height))
        after = png.with_name("after.png")
        whole.resize(shown).save(after, compress_level=1)  # level 1 is four times as fast as the default
    before.resize(shown).save(png.with_name("before.png"), compress_level=1)
    return png.with_name("before.png"), after, sizes


# The words


@contextmanager
def readable(source: Path) -> Iterator[None]:
    """Tells the visitor what hfsr says about a picture or a model, but not where uploads lie."""
    try:
        yield
    except hfsr.HfsrError as error:
        raise refusal(str(error).replace(f"{source.parent}/", "")) from error


def told(piece: hfsr.Progress) -> str:
    left = f", about {in_words(piece.seconds_left)} left" if piece.seconds_left else ""
    ended = piece.done == piece.total
    said = "Writing the PNG" if ended else f"{piece.done} of {piece.total} pieces{left}"
    return bar(said, piece.done / piece.total)


def refusal(message: str) -> gr.Error:
    return gr.Error(message, duration=None, print_exception=False)


def bar(said: str, part: float | None = None) -> str:
    """A progress bar and what it means; without `part` (0 to 1) it only shows that something goes on."""
    value = "" if part is None else f' value="{part:.3f}"'
    return f'<progress{value} aria-label="Progress"></progress><p>{said}</p>'


def in_words(seconds: float) -> str:
    if seconds >= 100:
        return f"{round(seconds / 60)} minutes"
    return "1 second" if seconds < 1.5 else f"{round(seconds)} seconds"


# The page


def build(models: dict[str, str] | None = None) -> gr.Blocks:
    """Builds the page. `models`: what the menu shows -> model; by default what `models.yml` lists."""
    models = models or offered()
    title, cache = "hfsr upscaler", (KEEP_SECONDS, KEEP_SECONDS)
    with gr.Blocks(title=title, analytics_enabled=False, delete_cache=cache) as page:
        gr.Markdown("# Larger and sharper pictures\nDrop a picture, press the button, compare, download.")
        with gr.Row():
            with gr.Column():
                inputs = ask(models)
                with gr.Row():
                    start = gr.Button("Enhance", variant="primary", scale=3, min_width=120)
                    stop = gr.Button("Cancel", interactive=False, scale=1, min_width=90)
            with gr.Column():
                outputs = show()
        connect(models, inputs, start, stop, outputs)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


def ask(models: dict[str, str]) -> list[Any]:
    """Lays out what the visitor gives: picture, model, tile, dtype."""
    sources: list[Any] = ["upload", "clipboard"]
    picture = gr.Image(
        label="Your picture", type="filepath", format="png", image_mode=None, sources=sources, height=340
    )
    samples = [SAMPLE, *sorted((HERE / "examples").glob("*.png"))]
    gr.Examples([[str(path)] for path in samples], picture, label="Or try one of these", elem_id="examples")
    model = gr.Dropdown(list(models.items()), label="What to do")
    with gr.Accordion("Advanced", open=False):
        same = "Smaller pieces take less memory; the result is the same."
        tile = gr.Dropdown(list(TILES.items()), value="256", label="Piece size", info=same)
        dtype = gr.Radio(list(DTYPES.items()), value="auto", label="Arithmetic")
    return [picture, model, tile, dtype]


def show() -> list[Any]:
    """Lays out what the visitor gets: comparison, download, report; a screen reader hears the report."""
    spoken = "element.role = 'status'"
    report = gr.HTML(IDLE, label="Report", elem_id="report", container=True, padding=True, js_on_load=spoken)
    comparison = gr.ImageSlider(
        label="Before | after", format="png", buttons=["fullscreen"], elem_id="comparison", visible=False
    )
    download = gr.DownloadButton("Download PNG", variant="primary", visible=False)
    return [comparison, download, report]


def connect(
    models: dict[str, str], inputs: list[Any], start: gr.Button, stop: gr.Button, outputs: list[Any]
) -> None:
    """Says what the buttons do. Everything that a visitor or a program sends passes `upscale`."""
    comparison, download, report = outputs

    def upscale(
        image: dict[str, Any] | None, model: str, tile: str, dtype: str
    ) -> Iterator[tuple[Any, Path | None, str]]:
        """Enlarges or restores one picture; returns (before, after) to compare, the PNG, and a report."""
        for value, allowed in ((model, models), (tile, TILES), (dtype, DTYPES)):
            if value not in allowed.values():
                raise refusal(f"'{value}' is not offered; choose one of {', '.join(allowed.values())}")
        source = Path((image or {}).get("path") or "").resolve()
        if not source.is_relative_to(Path(get_upload_folder()).resolve()):  # gradio lets any path through
            raise refusal("Drop a picture first.")
        yield from process(source, model, tile, dtype)

    def state(*, busy: bool, done: bool = False) -> list[Any]:
        return [
            gr.Button(interactive=not busy),
            gr.Button(interactive=busy),
            gr.ImageSlider(visible=done),
            gr.DownloadButton(visible=done),
        ]

    states = [start, stop, comparison, download]
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    pressed = start.click(lambda: state(busy=True), None, states, **quiet)
    job = pressed.then(
        upscale,
        inputs,
        outputs,
        api_name="upscale",
        preprocess=False,  # the file as it came: hfsr says better than gradio what is wrong with it
        show_progress="minimal",
        show_progress_on=report,
    )
    job.success(lambda: state(busy=False, done=True), None, states, **quiet)
    job.failure(lambda: [*state(busy=False), IDLE], None, [*states, report], **quiet)
    stop.click(lambda: [*state(busy=False), IDLE], None, [*states, report], cancels=job, **quiet)


def launch(
    models: dict[str, str] | None = None,
    *,
    host: str | None = None,
    port: int | None = None,
    browser: bool = False,
) -> None:
    """Serves the page until it is interrupted."""
    font = [gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"]
    build(models).launch(
        server_name=host,
        server_port=port,
        inbrowser=browser,
        max_file_size=MAX_UPLOAD,
        run_history=False,
        ssr_mode=False,
        theme=gr.themes.Default(primary_hue="indigo", secondary_hue="indigo", font=font),
        css_paths=HERE / "style.css",
        js=NAME_EXAMPLES,
    )


if __name__ == "__main__":
    launch()

"""Results of jobs: files for the download and the comparison, and their description for people."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from PIL import Image

from hfsr import images

from . import limits
from .messages import format_bytes, format_seconds, format_size

_SHOWN_BY_BROWSERS = {"PNG", "JPEG", "WEBP"}


@dataclass(frozen=True)
class Result:
    """The result of one image.

    Attributes:
        name: file name for the download.
        file: the result.
        before, after: images of the comparison, which every browser can show.
        width, height: of the comparison, px.
        line: size, file size and time, for people.
        details: technical facts, (name, value).
    """

    name: str
    file: str
    before: str
    after: str
    width: int
    height: int
    line: str
    details: tuple[tuple[str, str], ...]

    @property
    def report(self) -> str:
        """All facts as plain text, for programs."""
        return "\n".join([self.line, *(f"{name}: {value}" for name, value in self.details)])

    def stored(self, store: Callable[[str], str | None]) -> Result:
        """Returns the same with its files where `store` puts them."""
        moved = {name: store(getattr(self, name)) for name in ("file", "before", "after")}
        return replace(self, **{name: path for name, path in moved.items() if path is not None})

    def to_json(self, url: Callable[[str], str]) -> dict[str, object]:
        """Returns the fields as the page reads them, with the URLs of the files."""
        return {**asdict(self), **{name: url(getattr(self, name)) for name in ("file", "before", "after")}}


def describe(
    source: Path,
    target: Path,
    *,
    seconds: float,
    strength: float = 1,
    task: str | None = None,
    details: Sequence[tuple[str, str]] = (),
) -> Result:
    """Describes a finished result and prepares its comparison, in the folder of `target`.

    Args:
        source: the image before.
        target: the result.
        seconds: time that it took.
        strength: of the model; 1 is not said.
        task: of a result that keeps its size, which would not be seen from the numbers.
        details: technical facts.
    """
    width, height = images.image_size(target, max_pixels=limits.MAX_RESULT)
    parts = [format_size(width, height), format_bytes(target.stat().st_size), format_seconds(seconds)]
    if strength != 1:
        parts.append(f"strength {strength:g}")
    line = ", ".join(parts)
    if task is not None:
        line = f"{task}: {line}"
    facts = list(details)
    after, shown = target, (width, height)
    if width * height > limits.MAX_SHOWN:
        share = (limits.MAX_SHOWN / (width * height)) ** 0.5
        shown = (round(width * share), round(height * share))
        after = target.with_name(f"{target.stem}_shown.png")
        whole = images.image_to_pil(images.read_image(target, max_pixels=limits.MAX_RESULT))
        whole.resize(shown).save(after, compress_level=1)  # level 1 is four times as fast as the default
        facts.append(("Comparison", f"reduced to {format_size(*shown)}; the download is not"))
    before = _before(source, target, shown)
    return Result(target.name, str(target), str(before), str(after), *shown, line, tuple(facts))


def _before(source: Path, target: Path, shown: tuple[int, int]) -> Path:
    """The image before: the file itself if a browser shows it as it is, else a PNG."""
    with Image.open(source) as image:
        is_upright = image.getexif().get(0x112, 1) == 1
        is_small = image.width * image.height <= limits.MAX_SHOWN
        if image.format in _SHOWN_BY_BROWSERS and is_upright and is_small:
            return source
    before = images.image_to_pil(images.read_image(source))
    before.thumbnail(shown)
    path = target.with_name(f"{target.stem}_before.png")
    before.save(path, compress_level=1)
    return path


def make_zip(files: Sequence[Path], target: Path) -> Path:
    """Writes files, which are compressed already, into an archive; equal names get a number."""
    taken: set[str] = set()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            name, number = file.name, 1
            while name.lower() in taken:
                number += 1
                name = f"{file.stem}_{number}{file.suffix}"
            taken.add(name.lower())
            archive.write(file, name)
    return target

"""What cannot be done is said in one line, with the right exit code, and nothing is left half-written."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features
from safetensors.torch import load_file, save_file

import hfsr
from hfsr import cli
from hfsr.checkpoints import write_model_folder
from hfsr.errors import ImageError
from hfsr.inference import Upscaler

from ..images.conftest import chunk, encode_png, encode_tiff

# --- what goes wrong with a file ---


def photo(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def header_only(width: int, height: int) -> bytes:
    """A PNG that promises much and holds a few bytes."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def floating_tiff() -> bytes:
    buffer = io.BytesIO()
    Image.new("F", (3, 3), float("nan")).save(buffer, "TIFF")
    return buffer.getvalue()


def wrong_checksum(data: bytes) -> bytes:
    at = data.index(b"IDAT") + 60
    return data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :]


GRAY16 = np.zeros((4, 5, 3), np.uint16)

FILES: dict[str, tuple[str, bytes, str]] = {
    "empty": ("a.png", b"", "is empty (0 bytes)"),
    "text": ("a.png", b"hello\n", "it holds text"),
    "a page of the web": ("a.jpg", b"<!DOCTYPE html><html><body>404</body></html>", "it holds text"),
    "zeros": ("a.png", bytes(4096), "is not an image"),
    "noise": ("a.tif", np.random.default_rng(1).bytes(4096), "is not an image"),
    "a zip": ("a.webp", b"PK\x03\x04" + bytes(200), "is not an image"),
    "magic alone, PNG": ("a.png", b"\x89PNG\r\n\x1a\n", "is damaged or cut short (it begins as a PNG)"),
    "magic alone, JPEG": ("a.jpg", b"\xff\xd8\xff", "is damaged or cut short (it begins as a JPEG)"),
    "magic alone, TIFF": ("a.tif", b"II*\0", "is damaged or cut short (it begins as a TIFF)"),
    "magic alone, GIF": ("a.gif", b"GIF89a", "is damaged or cut short (it begins as a GIF)"),
    "postscript": ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not an image"),
    "svg": ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", "it holds text"),
    "wrong checksum": ("a.png", wrong_checksum(photo("PNG")), "damaged"),
    "no data, PNG": (
        "a.png",
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0))
        + chunk(b"IEND", b""),
        "cannot be read|damaged|is not an image",
    ),
    "no width": ("a.png", header_only(0, 7), "damaged|is not an image|is empty|no pixels"),
    "100 megapixels that are not there": ("a.png", header_only(10_000, 10_000), "damaged or cut short"),
    "a bomb": ("a.png", header_only(60_000, 60_000), "60000x60000 = 3,600,000,000 px, over the limit"),
    "an animated GIF": ("a.gif", animation("GIF"), "is an animation of 3 frames"),
    "an animated PNG": ("a.png", animation("PNG"), "is an animation of 3 frames"),
    "an animated WebP": ("a.webp", animation("WEBP"), "is an animation of 3 frames"),
    "floating TIFF": ("a.tif", floating_tiff(), "floating-point samples hold NaN"),
    "cut TIFF in planes": ("a.tif", encode_tiff(GRAY16, "<", planes=True)[:-90], "damaged|is not an image"),
    "16-bit PPM": ("a.ppm", b"P6 3 2 65535\n" + bytes(36), "PPM of 16 bit"),
    "PPM without numbers": ("a.ppm", b"P6 many 2 255\n" + bytes(36), "is not an image"),
    "JPEG 2000": ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64), "is not an image"),
}
for _kind in (
    "PNG",
    "JPEG",
    "TIFF",
    "WEBP",
    "GIF",
    "BMP",
    "PPM",
    *(["AVIF"] if features.check("avif") else []),
):
    _whole = photo(_kind)
    for _share in (0.02, 0.3, 0.9):
        _cut = _whole[: max(20, int(len(_whole) * _share))]
        _name = f"a.{_kind.lower()}"
        FILES[f"{_kind} cut at {_share:.0%}"] = (_name, _cut, "damaged or cut short|is not an image")

# --- what goes wrong around it ---


def good(name: str = "a.png", kind: str = "PNG") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_bytes(photo(kind))
    return name


def pipe() -> list[str]:
    os.mkfifo("pipe.png")
    return ["pipe.png"]


def unix_socket() -> list[str]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
    return ["socket.png"]


def loop() -> list[str]:
    os.symlink("loop.png", "loop.png")
    return ["loop.png"]


def dangling() -> list[str]:
    os.symlink("nowhere.png", "link.png")
    return ["link.png"]


def folder(name: str) -> str:
    Path(name).mkdir(parents=True)
    return name


def protected() -> list[str]:
    good("out.png")
    os.chmod("out.png", 0o444)
    return [good(), "-o", "out.png"]


def target_is_a_pipe() -> list[str]:
    os.mkfifo("out.png")
    return [good(), "-o", "out.png"]


def with_alpha(*more: str) -> list[str]:
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save("alpha.png")
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(8, 8, 4)).save("alpha.png")
    return ["alpha.png", *more]


def wide() -> list[str]:
    Image.new("L", (9000, 1)).save("wide.png")
    return ["wide.png", "--ext", "webp"]


def linked_output() -> list[str]:
    os.symlink("a.png", "link.png")
    return [good(), "-o", "link.png"]


PLACES: dict[str, tuple[int, str, Callable[[], list[str]]]] = {
    "missing": (1, "'gone.png' is not there", lambda: ["gone.png"]),
    "missing folder": (1, "'gone/a.png' is not there", lambda: ["gone/a.png"]),
    "a folder called like an image": (1, "no images in 'a.png'", lambda: [folder("a.png")]),
    "an empty folder": (1, "no images in 'album'", lambda: [folder("album")]),
    "a glob without match": (1, "no images in '*.jpg'", lambda: [good() and "*.jpg"]),
    "a pipe": (1, "is a device or a pipe", pipe),
    "a socket": (1, "is a device or a pipe", unix_socket),
    "nothing": (1, "is a device or a pipe", lambda: ["/dev/null"]),
    "without end": (1, "is a device or a pipe", lambda: ["/dev/zero"]),
    "a link to itself": (1, "cannot be opened", loop),
    "a link to nowhere": (1, "is not there", dangling),
    "too long a name": (1, "File name too long", lambda: ["x" * 300 + ".png"]),
    "too long a result": (1, "File name too long", lambda: [good("x" * 250 + ".png")]),
    "a line break": (1, "'two lines.png' is not there", lambda: ["two\nlines.png"]),
    "no text": (1, r"\udce9", lambda: [os.fsdecode(b"caf\xe9.png")]),
    "a dash": (2, "unrecognized arguments: -a.png", lambda: ["-a.png"]),
    "a dash, escaped": (1, "'-a.png' is not there", lambda: ["--", "-a.png"]),
    "a file below a file": (1, "cannot be opened", lambda: [good() + "/b.png"]),
    "result below a file": (1, "cannot be created", lambda: [good(), "-o", "a.png/deeper"]),
    "result below a file, named": (1, "cannot be created", lambda: [good(), "-o", "a.png/b.png"]),
    "result is the input": (1, "would overwrite an input", lambda: [good(), "-o", "a.png"]),
    "result is the input by its name": (
        1,
        "would overwrite an input",
        lambda: [good(), "-o", ".", "--suffix", ""],
    ),
    "result is the input by a link": (1, "would overwrite an input", linked_output),
    "result is write-protected": (1, "write-protected", protected),
    "result is a pipe": (1, "is a device or a pipe", target_is_a_pipe),
    "result in no disk": (1, "cannot be", lambda: [good(), "-o", "/proc/hfsr/out"]),
    "one file for two": (2, "names a file", lambda: [good(), good("b.png"), "-o", "out.png"]),
    "one file for a folder": (2, "names a file", lambda: [good("b/a.png") and "b", "-o", "out.png"]),
    "one file for a glob": (2, "names a file", lambda: [good() and "*.png", "-o", "out.png"]),
    "a result that is not written": (2, "does not write .gif", lambda: [good(), "-o", "out.gif"]),
    "alpha to JPEG": (1, "transparency, which JPEG cannot hold", lambda: with_alpha("--ext", "jpg")),
    "alpha to BMP": (1, "transparency, which BMP cannot hold", lambda: with_alpha("-o", "a.bmp")),
    "too wide for WebP": (1, "WEBP holds at most 16383 px per side", wide),
    "over the limit": (1, "over the limit of 3,000", lambda: [good(), "--max-pixels", "3000"]),
    "nothing asked": (2, "nothing to upscale", list),
    "unknown option": (2, "unrecognized arguments: --fast", lambda: [good(), "--fast"]),
    "tile, a word": (2, "'many' is not allowed; use auto, 0", lambda: [good(), "--tile", "many"]),
    "tile, small": (2, "'3' is not allowed", lambda: [good(), "--tile", "3"]),
    "tile, negative": (2, "'-8' is not allowed", lambda: [good(), "--tile=-8"]),
    "dtype": (2, "invalid choice: 'fp8'", lambda: [good(), "--dtype", "fp8"]),
    "dtype the CPU lacks": (1, "fp16", lambda: [good(), "--dtype", "fp16", "--device", "cpu"]),
    "device": (1, "toaster", lambda: [good(), "--device", "toaster"]),
    "a device too many": (1, "cuda:99", lambda: [good(), "--device", "cuda:99"]),
    "backend": (1, "backend 'abacus'", lambda: [good(), "--backend", "abacus"]),
    "scale, a word": (2, "'two' is not allowed", lambda: [good(), "-s", "two"]),
    "scale, none": (2, "'0' is not allowed", lambda: [good(), "-s", "0"]),
    "scale, not a number": (2, "'nan' is not allowed", lambda: [good(), "-s", "nan"]),
    "scale of another model": (1, "not by 3", lambda: [good(), "-s", "3"]),
    "quality": (2, "0 is not allowed; use 1 to 100", lambda: [good(), "--jpeg-quality", "0"]),
    "quality, a word": (2, "best is not allowed", lambda: [good(), "--jpeg-quality", "best"]),
    "limit": (2, "'0' is not allowed", lambda: [good(), "--max-pixels", "0"]),
    "ending": (2, "does not write 'docx'", lambda: [good(), "--ext", "docx"]),
}  # fmt: skip

# --- what goes wrong with a model ---


def config(**changes: object) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        path = model / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def wrong_arguments(model: Path) -> None:
    arguments = json.loads((model / "config.json").read_text())["model_args"]
    config(model_args={**arguments, "blocks_of_wood": 3})(model)


def text_in(name: str, text: str) -> Callable[[Path], None]:
    return lambda model: (model / name).write_text(text) and None


def weights(change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def rewrite(model: Path) -> None:
        path = model / "model.safetensors"
        save_file(change(load_file(path)), path)

    return rewrite


def cut_weights(share: float) -> Callable[[Path], None]:
    def cut(model: Path) -> None:
        path = model / "model.safetensors"
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return cut


def lying_header(model: Path) -> None:
    path = model / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 60) + path.read_bytes()[8:])


MODELS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "no config": ("there is no config.json", lambda model: (model / "config.json").unlink()),
    "config is empty": ("config.json", text_in("config.json", "")),
    "config is no JSON": ("config.json", text_in("config.json", "architecture: EDSR")),
    "config is a list": ("config.json", text_in("config.json", "[1, 2]")),
    "config says nothing": ("does not state the network", text_in("config.json", "{}")),
    "config without arguments": ("does not state the network", config(model_args=None)),
    "unknown network": ("'Unheard'", config(architecture="Unheard")),
    "wrong arguments": ("blocks_of_wood", wrong_arguments),
    "another scale": ("states scale 4", config(scale=4)),
    "no weights": ("model.safetensors", lambda model: (model / "model.safetensors").unlink()),
    "weights of 0 bytes": ("model.safetensors", cut_weights(0)),
    "weights cut in their header": ("model.safetensors", cut_weights(0.01)),
    "weights cut short": ("model.safetensors", cut_weights(0.7)),
    "weights that are text": ("model.safetensors", text_in("model.safetensors", "version https://git-lfs")),
    "weights that lie about their size": ("model.safetensors", lying_header),
    "weights too many": ("more.weight", weights(lambda w: {**w, "more.weight": torch.zeros(3)})),
    "weights too few": ("missing keys", weights(lambda w: dict(list(w.items())[:-1]))),
    "weights of another shape": (
        "conv_last.bias",
        weights(lambda w: {**w, "conv_last.bias": torch.zeros(7)}),
    ),
    "weights that are whole numbers": (
        "conv_last.bias",
        weights(lambda w: {**w, "conv_last.bias": w["conv_last.bias"].to(torch.int64)}),
    ),
    "weights that are not numbers": (
        "not finite floats conv_last.bias",
        weights(lambda w: {**w, "conv_last.bias": w["conv_last.bias"] * float("nan")}),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "tiny"
    write_model_folder(hfsr.create_model("edsr_tiny"), path)
    return path


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


def contents() -> dict[str, bytes | None]:
    return {
        str(path): path.read_bytes() if path.is_file() and not path.is_symlink() else None
        for path in Path().rglob("*")
    }


def refuse(capsys, words: list[str], code: int, *messages: str, command: str = "upscale") -> None:
    """Runs a command that must fail with one line, and touch nothing."""
    before = contents()
    try:
        result = cli.main(words)
    except SystemExit as stop:  # argparse
        result = stop.code
    out, err = capsys.readouterr()
    assert (result, out) == (code, "")
    assert err.count("\n") == 1
    assert err.startswith(f"hfsr {command}: " if command else "hfsr: ")
    assert any(message in err for message in messages), err
    assert len(err) < 700
    assert contents() == before


@pytest.mark.parametrize("case", FILES)
def test_bad_files(case, model, capsys):
    name, content, message = FILES[case]
    Path(name).write_bytes(content)
    refuse(capsys, ["upscale", name, "-m", str(model)], 1, *message.split("|"))


@pytest.mark.parametrize("case", PLACES)
def test_bad_places_and_words(case, model, capsys):
    code, message, prepare = PLACES[case]
    words = prepare()
    refuse(capsys, ["upscale", "-m", str(model), *words], code, *message.split("|"))


@pytest.mark.parametrize("case", MODELS)
def test_bad_models(case, model, tmp_path, capsys):
    message, spoil = MODELS[case]
    write_model_folder(hfsr.load_checkpoint(model), tmp_path / "model")
    spoil(tmp_path / "model")
    refuse(capsys, ["upscale", good(), "-m", str(tmp_path / "model")], 1, message)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.safetensors", None, "there is no checkpoint file"),
        ("empty.pth", b"", "empty.pth"),
        ("text.pth", b"hello", "text.pth"),
        ("pickle.pth", pickle.dumps(print), "pickle.pth"),
        ("image.pth", photo("PNG"), "image.pth"),
        ("empty.safetensors", b"", "empty.safetensors"),
        ("odd.bin", b"hello", "odd.bin"),
        ("x" * 300, None, "File name too long"),
        ("no such model", None, "no model 'no such model'"),
        ("", None, "no model|is not a model folder"),
    ],
)
def test_bad_checkpoints(name, content, message, capsys):
    if content is not None:
        Path(name).write_bytes(content)
    refuse(capsys, ["upscale", good(), "-m", name], 1, *message.split("|"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["info", "x" * 300], 1, "File name too long"),
        (["info", "a\nb"], 1, "no network, preset, bundled model, file or folder 'a b'"),
        (["doctor", "gone.pth"], 1, "there is no checkpoint file"),
        (["doctor", "MODEL", "--size", "0"], 2, "'0' is not allowed; use at least 16 px"),
        (["doctor", "MODEL", "--tile", "3"], 2, "'3' is not allowed; use at least 8 px"),
        (["evaluate", "-m", "MODEL", "--gt", "x" * 300], 1, "File name too long"),
        (["evaluate", "-m", "MODEL", "--gt", "text.png"], 1, "it holds text"),
        (["evaluate", "-m", "MODEL", "--gt", "/dev/null"], 1, "is not a folder"),
        (["evaluate", "-m", "MODEL", "--gt", "a.png", "--tile", "x"], 1, "tile 'x'"),
        (["evaluate", "-m", "MODEL", "--compare-tiling", "a.png", "-o", "text.png"], 1, "File exists"),
        (["evaluate", "-m", "MODEL", "--compare-tiling", "gone.png"], 1, "'gone.png' is not there"),
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
    ],
)
def test_other_commands(words, code, message, model, capsys):
    Path("text.png").write_text("hello")
    good()
    words = [str(model) if word == "MODEL" else word for word in words]
    refuse(capsys, words, code, message, command=words[0] if words[0] in cli.COMMANDS else "")


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp", "bmp"])
@pytest.mark.parametrize("older", [False, True])
def test_a_full_disk(ending, older, model, capsys):
    good()
    if older:
        Path(f"out.{ending}").write_bytes(b"an older result")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # bytes of any file from here on
    try:
        words = ["upscale", "a.png", "-m", str(model), "-o", f"out.{ending}"]
        refuse(capsys, words, 1, f"'out.{ending}' cannot be written (File too large)", "cannot be written as")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_memory_that_is_not_there(model, capsys, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("hfsr.images.read_image", fail)
    refuse(capsys, ["upscale", good(), "-m", str(model)], 1, "not enough memory")


# --- arrays ---


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((4, 4, 3), np.nan, np.float32), "NaN or infinite"),
        (np.full((4, 4), np.inf, np.float32), "NaN or infinite"),
        (np.full((4, 4, 3), 200, np.float32), "runs from 200 to 200; divide it by 255"),
        (np.full((4, 4, 3), -3, np.float32), "runs from -3 to -3"),
        (np.zeros((4, 4, 3)), "float64"),
        (np.zeros((4, 4, 3), np.float16), "float16"),
        (np.zeros((4, 4, 3), np.int16), "int16"),
        (np.zeros((4, 4, 3), bool), "bool"),
        (np.zeros((4, 4, 3), ">u2"), ">u2"),
        (np.zeros((4, 4, 3), object), "object"),
        (np.zeros((4, 4, 1), np.uint8), "shape (4, 4, 1)"),
        (np.zeros((4, 4, 4), np.uint8), "shape (4, 4, 4)"),
        (np.zeros((3, 4, 4), np.uint8), "shape (3, 4, 4)"),
        (np.zeros((1, 3, 4, 4), np.float32), "shape (1, 3, 4, 4)"),
        (np.zeros(4, np.uint8), "shape (4,)"),
        (np.zeros((0, 4, 3), np.uint8), "shape (0, 4, 3)"),
        (np.zeros((4, 0), np.uint8), "shape (4, 0)"),
        (np.uint8(3), "uint8"),
        ([[1, 2]], "list"),
        (None, "NoneType"),
        (torch.zeros(1, 3, 4, 4), "Tensor"),
        (b"picture", "bytes"),
    ],
)
def test_bad_arrays(model, array, message):
    with pytest.raises(ImageError) as caught:
        Upscaler(hfsr.load_checkpoint(model))(array)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_that_lie_oddly_in_memory_are_fine(model):
    up = Upscaler(hfsr.load_checkpoint(model), dtype="fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    for odd in (pixels[::-1, ::-1], pixels[..., ::-1], pixels.swapaxes(0, 1), pixels[::2, ::3]):
        np.testing.assert_array_equal(up(odd), up(np.ascontiguousarray(odd)))
        floats = odd.astype(np.float32) / 255
        np.testing.assert_array_equal(up(floats[::-1]), up(np.ascontiguousarray(floats[::-1])))
    frozen = pixels.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(up(frozen), up(pixels))


# --- odd, but fine ---


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_odd_sizes(size, model, capsys):
    Image.new("RGB", size, (90, 120, 30)).save("a.png")
    assert cli.main(["upscale", "a.png", "-m", str(model), "-o", "b.png"]) == 0
    with Image.open("b.png") as result:
        assert result.size == (2 * size[0], 2 * size[1])


@pytest.mark.parametrize(
    "name",
    ["with space.png", "two\nlines.png", "-dash.png", "ünï[1].png", os.fsdecode(b"caf\xe9.png"), "*.png"],
)
def test_odd_names(name, model, capsys):
    good(name)
    assert cli.main(["upscale", "-m", str(model), "--", name]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err == ""
    assert os.listdir("results") == [name.replace(".png", "_x2.png")]


@pytest.mark.parametrize(
    "broken",
    [
        {"exif": b""},
        {"exif": b"Exif\0\0"},
        {"exif": b"Exif\0\0II*\0\x08\0\0\0\x05\0\x0e\x01"},
        {"exif": b"Exif\0\0II*\0\xff\xff\xff\x7f"},
        {"exif": b"no EXIF at all"},
        {"icc_profile": b"no profile at all"},
        {"icc_profile": bytes(200)},
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("target", ["png", "tif", "avif"])
def test_broken_metadata_costs_no_image(broken, kind, target, model, capsys):
    if target == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    Path("a").write_bytes(photo(kind, **broken))
    assert cli.main(["upscale", "a", "-m", str(model), "-o", f"b.{target}"]) == 0
    assert capsys.readouterr().err == ""
    with Image.open(f"b.{target}") as result:
        assert result.size == (128, 96)


def test_a_broken_profile_chunk_costs_no_image(model):
    pixels = np.zeros((4, 5, 3), np.uint8)
    Path("a.png").write_bytes(encode_png(pixels, 2, extra=chunk(b"iCCP", b"ICC Profile\0\0no zlib data")))
    assert cli.main(["upscale", "a.png", "-m", str(model), "-o", "b.png"]) == 0

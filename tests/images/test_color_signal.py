"""What says how the numbers are to be shown arrives, becomes a profile, or is named."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from hfsr.images import LoadedImage, fitted, image_from_pil, image_to_pil, read_image, write_image
from hfsr.images.decoding.avif_properties import read_avif_properties
from hfsr.images.metadata.color_signal import color_chunks, describe_color, profile_of

from .conftest import chunk, encode_png
from .tiff_files import encode

SAMPLES = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
SRGB_POINTS = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3_POINTS = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
PQ, P3 = bytes([9, 16, 0, 1]), bytes([12, 13, 0, 1])


def gamma(value: float) -> bytes:
    return struct.pack(">I", round(value * 100_000))


def read(tmp_path, samples=SAMPLES, **chunks: bytes):
    extra = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    (tmp_path / "a.png").write_bytes(encode_png(samples, 2 if samples.shape[2] == 3 else 0, extra=extra))
    return read_image(tmp_path / "a.png")


def shown(pixels: np.ndarray, icc: bytes) -> np.ndarray:
    """sRGB by a profile, as Pillow and LittleCMS show it."""
    image = Image.fromarray(pixels)
    target = ImageCms.createProfile("sRGB")
    profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    return np.asarray(ImageCms.profileToProfile(image, profile, target, renderingIntent=1, outputMode="RGB"))


@pytest.mark.parametrize(
    "chunks",
    [
        {}, {"gAMA": gamma(0.45455)}, {"gAMA": gamma(0.45455), "cHRM": SRGB_POINTS}, {"sRGB": b"\0"},
        {"sRGB": b"\0", "gAMA": gamma(1)}, {"cICP": bytes([1, 13, 0, 1])}, {"gAMA": gamma(0)},
        {"cHRM": bytes(32)}, {"cICP": bytes([1, 13, 0, 1]), "gAMA": gamma(1)},
    ],
)  # fmt: skip
def test_srgb_needs_no_word(tmp_path, chunks):
    image = read(tmp_path, **chunks)
    assert image.color == ()
    assert fitted(image, "JPEG").notes == ()


@pytest.mark.parametrize(
    "chunks",
    [
        {"gAMA": gamma(1)}, {"gAMA": gamma(0.55)}, {"cHRM": P3_POINTS},
        {"gAMA": gamma(0.45455), "cHRM": P3_POINTS},
        {"cICP": PQ, "mDCV": bytes(range(24)), "cLLI": bytes(8)}, {"cICP": P3},
    ],
)  # fmt: skip
def test_a_png_keeps_its_chunks(tmp_path, chunks):
    image = read(tmp_path, **chunks)
    assert dict(image.color) == {name.encode(): data for name, data in chunks.items()}
    assert fitted(image, "PNG").notes == ()
    write_image(image, tmp_path / "b.png")
    data = (tmp_path / "b.png").read_bytes()
    for name, content in chunks.items():
        assert data.index(chunk(name.encode(), content)) < data.index(b"IDAT")
    assert read_image(tmp_path / "b.png").color == image.color


@pytest.mark.parametrize("suffix", ["jpg", "tif", "webp", "avif"])
def test_other_formats_get_a_profile_that_shows_the_same(tmp_path, suffix):
    samples = np.full((8, 8, 3), 128, np.uint8)
    loaded = read(tmp_path, samples, gAMA=gamma(1))
    assert fitted(loaded, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper())).notes == (
        "its color (gamma 1) was described by a color profile",
    )
    write_image(loaded, tmp_path / f"b.{suffix}")
    with Image.open(tmp_path / f"b.{suffix}") as image:
        found = shown(np.asarray(image.convert("RGB")), image.info["icc_profile"])
    assert np.abs(found.astype(int) - 188).max() <= 2  # half the light


def test_gray_gets_a_profile_of_gray(tmp_path):
    image = fitted(read(tmp_path, np.full((8, 8, 1), 128, np.uint8), gAMA=gamma(1)), "TIFF")
    assert image.is_gray
    assert np.abs(shown(image.pixels, image.icc).astype(int) - 188).max() <= 1


def test_primaries_become_those_of_the_profile():
    red = np.zeros((1, 1, 3), np.uint8)
    red[..., 0] = 200
    for chunks in (((b"gAMA", gamma(0.45455)), (b"cHRM", P3_POINTS)), ((b"cICP", P3),)):
        found = shown(red, profile_of(chunks, gray=False))[0, 0]
        assert found[0] > 210  # P3's red lies outside of sRGB
        assert found[1] == 0
    neutral = shown(np.full((1, 1, 3), 128, np.uint8), profile_of(((b"cICP", P3),), gray=False))
    assert np.abs(neutral.astype(int) - 128).max() <= 1


@pytest.mark.parametrize("name", ["JPEG", "TIFF", "WEBP", "AVIF", "BMP"])
def test_what_no_profile_can_say_is_named(tmp_path, name):
    image = fitted(read(tmp_path, cICP=PQ), name)
    assert image.icc is None
    assert image.notes == (
        f"its color (BT.2020, PQ (HDR)) was left out: {name} cannot store it, it looks different; use .png",
    )


def test_bmp_holds_no_gamma(tmp_path):
    assert "gamma 1) was left out: BMP cannot" in fitted(read(tmp_path, gAMA=gamma(1)), "BMP").notes[0]


def test_a_profile_outranks_gamma_but_not_cicp():
    found = {b"gAMA": gamma(1), b"cICP": PQ}
    assert color_chunks({b"gAMA": gamma(1)}, has_profile=True) == ()
    assert color_chunks(found, has_profile=True) == ((b"cICP", PQ),)
    assert describe_color(((b"cICP", bytes([77, 78, 0, 1])),)) == "primaries 77, transfer 78"


def test_points_in_one_line_make_no_profile():
    line = struct.pack(">8I", 31270, 32900, 10000, 10000, 20000, 20000, 30000, 30000)
    assert profile_of(((b"cHRM", line),), gray=False) is None


def test_pillow_s_images_have_it_too(tmp_path):
    read(tmp_path, gAMA=gamma(1), cHRM=P3_POINTS)
    with Image.open(tmp_path / "a.png") as image:
        loaded = image_from_pil(image)
    assert loaded.color == ((b"gAMA", gamma(1)), (b"cHRM", P3_POINTS))
    assert image_to_pil(loaded).info["gamma"] == 1
    assert "gamma" not in image_to_pil(LoadedImage(SAMPLES)).info


def avif_with(primaries: int, transfer: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(SAMPLES).save(buffer, "AVIF")
    data = buffer.getvalue()
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize(
    ("primaries", "transfer", "meant"),
    [(1, 13, None), (2, 2, None), (1, 1, None), (9, 16, "BT.2020, PQ (HDR)"), (12, 13, "Display P3, SDR"),
     (9, 18, "BT.2020, HLG (HDR)")],
)  # fmt: skip
def test_the_colors_of_an_avif(tmp_path, primaries, transfer, meant):
    (tmp_path / "a.avif").write_bytes(avif_with(primaries, transfer))
    image = read_image(tmp_path / "a.avif")
    if meant is None:
        assert image.color == ()
        return
    assert dict(image.color)[b"cICP"] == bytes([primaries, transfer, 0, 1])
    assert f"{meant}" in fitted(image, "JPEG").notes[0]
    write_image(image, tmp_path / "b.png")
    assert chunk(b"cICP", bytes([primaries, transfer, 0, 1])) in (tmp_path / "b.png").read_bytes()


def test_damaged_boxes_of_an_avif_say_nothing():
    data = avif_with(9, 16)
    for at in range(0, 300):
        read_avif_properties(io.BytesIO(data[:at]))
        read_avif_properties(io.BytesIO(data[:at] + b"\xff" * 4 + data[at + 4 :]))
    assert read_avif_properties(io.BytesIO(data)).color == PQ
    assert read_avif_properties(io.BytesIO(b"no AVIF at all")) is None


@pytest.mark.parametrize("bits", [8, 12])
def test_color_tags_of_a_tiff_are_named(tmp_path, bits):
    tags = {318: (4, [1, 1]), 301: (3, [0, 1])}
    (tmp_path / "a.tif").write_bytes(encode(SAMPLES.astype("u2" if bits > 8 else "u1"), bits, tags=tags))
    note = "its color tags (TransferFunction, WhitePoint) were left out"
    assert read_image(tmp_path / "a.tif").notes == (note,)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
@pytest.mark.parametrize(("bits", "depth"), [(0x00, None), (0x40, 10), (0x60, 12)])
def test_depths_that_pillow_does_not_keep_are_named(bits, depth):
    data = bytearray(avif_with(1, 13))
    at = data.index(b"av1C") + 6
    data[at] = data[at] & ~0x60 | bits
    assert read_avif_properties(io.BytesIO(bytes(data))).depth == (depth or 8)


def test_cmyk_of_sixteen_bit_is_named(tmp_path):
    inks = np.full((4, 5, 4), 0x8000, np.uint16)
    (tmp_path / "a.tif").write_bytes(encode(inks, 16, photometric=5))
    assert "its 16 bit were read as 8" in read_image(tmp_path / "a.tif").notes


def bmp(kind: bytes, *, gamma: float = 0, profile: bytes = b"", size: int = 124) -> bytes:
    """A BMP of version 5 with a few gray pixels."""
    pixels = bytes([128]) * 12 * 4  # four rows of four pixels
    head = (
        struct.pack("<IiiHHIIiiII", size, 4, 4, 1, 24, 0, len(pixels), 0, 0, 0, 0)
        + bytes(16)
        + kind
        + bytes(36)
    )
    head += struct.pack("<3I", *(round(gamma * 65536),) * 3)
    head += struct.pack("<IIII", 4, 124 + len(pixels), len(profile), 0)
    start = 14 + len(head)
    return (
        struct.pack("<2sIHHI", b"BM", start + len(pixels) + len(profile), 0, 0, start)
        + head
        + pixels
        + profile
    )


LINEAR = profile_of(((b"gAMA", gamma(1)),), gray=False)


@pytest.mark.parametrize(
    ("data", "icc", "notes"),
    [
        (bmp(b"BGRs"), None, ()),
        (bmp(bytes(4)), None, ()),
        (bmp(bytes(4), gamma=2.2), None, ()),
        (bmp(bytes(4), gamma=1), None, ("its gamma of 1 was left out",)),
        (bmp(b"DEBM", profile=LINEAR), LINEAR, ()),
        (bmp(b"DEBM", profile=LINEAR)[:-1], None, ("its color profile is damaged and was left out",)),
        (
            bmp(b"KNIL", profile=b"C:\\a.icc"),
            None,
            ("its color profile is in another file and was left out",),
        ),
    ],
)
def test_the_colors_of_a_bmp(tmp_path, data, icc, notes):
    (tmp_path / "a.bmp").write_bytes(data)
    image = read_image(tmp_path / "a.bmp")
    assert (image.pixels == 128).all()
    assert image.icc == icc
    assert image.notes == notes

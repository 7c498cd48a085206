"""What travels beside the pixels: it arrives, and says nothing of the result that is not so."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, IptcImagePlugin, PngImagePlugin, features

from hfsr.images import LoadedImage, image_from_pil, image_to_pil, read_image, write_image

XMP = (
    b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:e="http://ns.adobe.com/exif/1.0/" '
    b'xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'tiff:Orientation="%d" tiff:ImageWidth=\'8\' tiff:ImageLength="6" xmpNote:HasExtendedXMP="ABCD" '
    b'tiff:Make="Maker"><e:PixelXDimension>8</e:PixelXDimension><e:FNumber>28/10</e:FNumber>'
    b"<dc:rights>%s</dc:rights></rdf:Description></rdf:RDF></x:xmpmeta>"
)
IPTC = b"\x1c\x02\x50\x00\x08a person\x1c\x02\x78\x00\x07a title"
READ, WRITTEN = ("png", "jpg", "tif", "webp", "avif"), ("png", "jpg", "tif", "webp", "avif")
pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")


def _xmp(orientation: int = 1, rights: str = "Größe") -> bytes:
    return XMP % (orientation, rights.encode())


def _pixels(height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def _photoshop(records: bytes) -> bytes:
    """The segment of a JPEG in which IPTC lies, with another resource before it."""
    other = struct.pack(">4sHHI", b"8BIM", 0x0421, 0, 4) + b"abcd"
    own = struct.pack(">4sHHI", b"8BIM", 0x0404, 0, len(records)) + records + bytes(len(records) % 2)
    data = b"Photoshop 3.0\0" + other + own
    return b"\xff\xed" + struct.pack(">H", len(data) + 2) + data


def _save(path: Path, xmp: bytes, **options: object) -> Path:
    """A file as other programs write it."""
    image = Image.fromarray(_pixels())
    if path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", xmp.decode())
        image.save(path, pnginfo=info, **options)
    elif path.suffix == ".tif":
        image.save(path, tiffinfo={700: xmp}, **options)
    else:
        image.save(path, xmp=xmp, **options)
    return path


def _stored_xmp(path: Path) -> bytes:
    """As Pillow reads it."""
    with Image.open(path) as image:
        image.load()
        found = image.info["xmp"]
    return found if isinstance(found, bytes) else found.encode()


@pytest.mark.parametrize("target", WRITTEN)
@pytest.mark.parametrize("source", READ)
def test_xmp_arrives_without_what_no_longer_holds(tmp_path, source, target):
    image = read_image(_save(tmp_path / f"a.{source}", _xmp(1)))
    write_image(image, tmp_path / f"b.{target}")
    found = _stored_xmp(tmp_path / f"b.{target}")
    assert found == image.xmp
    for kept in ('tiff:Make="Maker"', "<e:FNumber>28/10</e:FNumber>", "Größe", 'tiff:Orientation="1"'):
        assert kept.encode() in found
    for gone in (b"ImageWidth", b"ImageLength", b"PixelXDimension", b"HasExtendedXMP"):
        assert gone in _xmp()
        assert gone not in found
    packet = ElementTree.fromstring(found)  # still well-formed
    assert packet[0][0].attrib["{http://ns.adobe.com/tiff/1.0/}Make"] == "Maker"


@pytest.mark.parametrize("in_exif", [False, True])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_image_is_turned_once_whoever_says_so(tmp_path, orientation, in_exif):
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    if in_exif:
        exif[0x0112] = orientation
    image = read_image(_save(tmp_path / "a.png", _xmp(orientation), exif=exif))
    turns = {3: 2, 6: 3, 8: 1}[orientation]
    np.testing.assert_array_equal(image.pixels, np.rot90(_pixels(), turns))
    write_image(image, tmp_path / "b.png")
    assert b'tiff:Orientation="1"' in _stored_xmp(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, image.pixels)


def test_an_orientation_written_as_an_element(tmp_path):
    xmp = (
        _xmp()
        .replace(b'tiff:Orientation="1" ', b"")
        .replace(b"<e:FNumber>", b"<tiff:Orientation>8</tiff:Orientation><e:FNumber>")
    )
    image = read_image(_save(tmp_path / "a.webp", xmp, lossless=True))
    assert b"<tiff:Orientation>1</tiff:Orientation>" in image.xmp
    assert (image.height, image.width) == (8, 6)


def test_other_words_are_left_alone(tmp_path):
    xmp = _xmp().replace(b"tiff:", b"mine:").replace(b"/tiff/1.0/", b"/other/")
    image = read_image(_save(tmp_path / "a.png", xmp))
    assert b'mine:Orientation="1" mine:ImageWidth=' in image.xmp


def test_xmp_that_is_no_utf_8_is_left_out_and_said(tmp_path):
    image = read_image(_save(tmp_path / "a.tif", _xmp().decode().encode("utf-16")))
    assert image.xmp is None
    assert image.notes == ("its XMP is not UTF-8 and was left out",)


def test_what_is_too_long_for_a_jpeg_stays_out_of_it(tmp_path):
    image = read_image(_save(tmp_path / "a.png", _xmp(rights="x" * 70_000)))
    assert len(image.xmp) > 70_000
    write_image(image, tmp_path / "b.jpg")
    assert read_image(tmp_path / "b.jpg").xmp is None
    write_image(image, tmp_path / "b.tif")
    assert read_image(tmp_path / "b.tif").xmp == image.xmp


@pytest.mark.parametrize("target", ["jpg", "tif"])
@pytest.mark.parametrize("source", ["jpg", "tif"])
def test_iptc_arrives(tmp_path, source, target):
    path, image = tmp_path / f"a.{source}", Image.fromarray(_pixels())
    if source == "jpg":
        image.save(path, extra=_photoshop(IPTC))
    else:
        image.save(path, tiffinfo={33723: IPTC})
    loaded = read_image(path)
    write_image(loaded, tmp_path / f"b.{target}")
    with Image.open(tmp_path / f"b.{target}") as written:
        found = IptcImagePlugin.getiptcinfo(written)
    assert (found[(2, 80)], found[(2, 120)]) == (b"a person", b"a title")


def test_what_is_no_iptc_is_left_out(tmp_path):
    Image.fromarray(_pixels()).save(tmp_path / "a.tif", tiffinfo={33723: b"something else"})
    assert read_image(tmp_path / "a.tif").iptc is None


@pytest.mark.parametrize("target", ["png", "tif", "jpg", "bmp"])
@pytest.mark.parametrize("source", ["png", "tif", "jpg", "bmp"])
def test_the_resolution_arrives(tmp_path, source, target):
    Image.fromarray(_pixels()).save(tmp_path / f"a.{source}", dpi=(300, 150))
    write_image(read_image(tmp_path / f"a.{source}"), tmp_path / f"b.{target}")
    with Image.open(tmp_path / f"b.{target}") as image:
        assert [round(float(value)) for value in image.info["dpi"]] == [300, 150]


@pytest.mark.parametrize("source", ["png", "tif", "jpg"])
def test_the_resolution_turns_with_the_image(tmp_path, source):
    exif = Image.Exif()
    exif[0x0112], exif[282], exif[283], exif[296] = 6, 300.0, 150.0, 2
    Image.fromarray(_pixels()).save(tmp_path / f"a.{source}", exif=exif, dpi=(300, 150))
    image = read_image(tmp_path / f"a.{source}")
    kept = Image.Exif()
    kept.load(image.exif)
    assert [round(value) for value in image.dpi] == [150, 300]
    assert (kept[282], kept[283]) == (150, 300)


def test_centimetres_of_a_tiff_stay_centimetres(tmp_path):
    Image.fromarray(_pixels()).save(tmp_path / "a.tif", resolution_unit=3, resolution=100)
    loaded = read_image(tmp_path / "a.tif")
    assert loaded.dpi == (254, 254)
    write_image(loaded, tmp_path / "b.tif")
    with Image.open(tmp_path / "b.tif") as image:
        assert (image.tag_v2[282], image.tag_v2[296]) == (100, 3)


def test_no_resolution_is_made_up(tmp_path):
    exif = Image.Exif()
    exif[0x010F] = "Maker"  # Pillow makes 72 dpi of EXIF without a resolution
    Image.fromarray(_pixels()).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.info["dpi"] == (72, 72)
    assert read_image(tmp_path / "a.jpg").dpi is None
    assert "dpi" not in image_to_pil(LoadedImage(_pixels())).info


@pytest.mark.parametrize("dpi", [(0, 0), (1e9, 300), (float("nan"), 300), ("a", "b"), 300, (72,)])
def test_a_resolution_that_is_none_is_left_out(dpi):
    image = Image.fromarray(_pixels())
    image.info["dpi"] = dpi
    assert image_from_pil(image).dpi is None


def test_a_image_of_pillow_s_has_it_too():
    loaded = LoadedImage(_pixels(), xmp=_xmp(), dpi=(300.0, 150.0))
    image = image_to_pil(loaded)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", dpi=image.info["dpi"])
    assert image.info["xmp"] == _xmp()
    assert image_from_pil(image).dpi == (300, 150)
    with Image.open(buffer) as saved:
        assert [round(value) for value in saved.info["dpi"]] == [300, 150]

"""XMP of a result describes no part that stayed behind; all else arrives."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from hfsr.errors import ImageError
from hfsr.images import read_image, write_image
from hfsr.images.metadata.xmp import cleaned_xmp

PIXELS = np.zeros((6, 8, 3), np.uint8)
GOOGLE = "http://ns.google.com/photos/1.0"
SPACES = {
    "hdrgm": "http://ns.adobe.com/hdr-gain-map/1.0/", "GCamera": f"{GOOGLE}/camera/", "dc": "http://purl.org/dc/",
    "Container": f"{GOOGLE}/container/", "Item": f"{GOOGLE}/container/item/", "GDepth": f"{GOOGLE}/depthmap/",
    "GPano": f"{GOOGLE}/panorama/", "apple": "http://ns.apple.com/HDRGainMap/1.0/",
    "xmpNote": "http://ns.adobe.com/xmp/note/", "t": "http://ns.adobe.com/tiff/1.0/",
    "mwg": "http://www.metadataworkinggroup.com/schemas/regions/", "xmp": "http://ns.adobe.com/xap/1.0/",
}  # fmt: skip
DIRECTORY = (
    "<Container:Directory><rdf:Seq><rdf:li rdf:parseType='Resource'><Container:Item Item:Mime='image/jpeg' "
    "Item:Semantic='Primary'/></rdf:li><rdf:li rdf:parseType='Resource'><Container:Item>"
    "<Item:Length>59000</Item:Length></Container:Item></rdf:li></rdf:Seq></Container:Directory>"
)
GAIN_MAP = "its HDR gain map was left out: the result has the standard dynamic range"
VIDEO = "the video of its motion photo was left out"
DEPTH = "the depth map, sound or second image that its XMP describes was left out"


def packet(attributes: str = "", elements: str = "") -> bytes:
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in SPACES.items())
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'{spaces} dc:source="a scan" {attributes}><dc:rights>Größe &gt; 0</dc:rights>{elements}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


@pytest.mark.parametrize(
    ("attributes", "elements", "gone", "notes"),
    [
        ('hdrgm:Version="1.0"', DIRECTORY, ["hdrgm:V", "Directory", "Item:"], [GAIN_MAP]),
        ("", "<hdrgm:Version>1.0</hdrgm:Version><hdrgm:GainMapMax><rdf:Seq><rdf:li>1</rdf:li></rdf:Seq>"
         "</hdrgm:GainMapMax>", ["hdrgm:V", "GainMapMax", "<rdf:Seq>"], [GAIN_MAP]),
        ("apple:HDRGainMapVersion='65536'", "", ["HDRGainMapVersion"], [GAIN_MAP]),
        ('GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1" GCamera:MotionPhotoTimestampUs="5"',
         DIRECTORY, ["MotionPhoto", "Directory", "Item:"], [VIDEO]),
        ("", "<GCamera:MicroVideo>1</GCamera:MicroVideo><GCamera:MicroVideoOff>9</GCamera:MicroVideoOff>",
         ["MicroVideo"], [VIDEO]),
        ('GDepth:Format="RangeLinear" GDepth:Data="/9j/4AAQ"', "", ["GDepth:F", "/9j/"], [DEPTH]),
        ("GPano:FullPanoWidthPixels='8000'", "<GPano:ProjectionType>equirectangular</GPano:ProjectionType>",
         ["FullPano", "equirect"], ["its panorama data (GPano) was left out: it is in px of the source"]),
        ('xmpNote:HasExtendedXMP="ABCD"', "", ["HasExtended"], ["the second part of its XMP was left out"]),
        ('t:ImageWidth="8"', "<t:BitsPerSample><rdf:Seq><rdf:li>8</rdf:li></rdf:Seq></t:BitsPerSample>"
         "<xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>",
         ["ImageWidth", "BitsPerSample", "Thumbnails", "AAAA"], []),
    ],
)  # fmt: skip
def test_parts_that_are_not_copied(tmp_path, attributes, elements, gone, notes):
    xmp = packet(attributes, elements)
    for word in gone:
        assert word.encode() in xmp
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", xmp=xmp)
    image = read_image(tmp_path / "a.jpg")
    assert image.notes == tuple(notes)
    write_image(image, tmp_path / "b.jpg")
    found = read_image(tmp_path / "b.jpg").xmp
    for word in gone:
        assert word.encode() not in found
    assert b'dc:source="a scan"' in found
    assert "Größe &gt; 0".encode() in found
    assert len(ElementTree.fromstring(found)[0]) == 1


def test_what_stays_is_not_touched():
    xmp = packet('GCamera:BurstID="7" t:Make="Maker"', "<xmp:CreateDate>2026</xmp:CreateDate>")
    assert cleaned_xmp(xmp, is_turned=False) == (xmp, [])


def test_regions_hold_unless_the_image_is_turned():
    xmp = packet("", "<mwg:Regions rdf:parseType='Resource'><mwg:RegionList>1</mwg:RegionList></mwg:Regions>")
    assert cleaned_xmp(xmp, is_turned=False) == (xmp, [])
    found, notes = cleaned_xmp(xmp, is_turned=True)
    assert b"mwg:Region" not in found
    assert notes == ["its face regions were left out, because the image was rotated"]


@pytest.mark.parametrize(
    "xmp",
    [packet()[:-60], b"not xml", packet("dc:a='1' dc:a='2'"),
     b'<!DOCTYPE a [<!ENTITY b "cc"><!ENTITY d "&b;&b;">]><a>&d;</a>'],
)  # fmt: skip
def test_damaged_xmp_is_left_out_and_said(tmp_path, xmp):
    with pytest.raises(ImageError):
        cleaned_xmp(xmp, is_turned=False)
    Image.fromarray(PIXELS).save(tmp_path / "a.webp", xmp=xmp)
    image = read_image(tmp_path / "a.webp")
    assert image.xmp is None
    assert image.notes == ("its XMP is damaged and was left out",)


def test_images_beside_the_first_are_counted(tmp_path):
    images = [Image.fromarray(PIXELS + shade) for shade in (0, 90, 180)]
    images[0].save(tmp_path / "a.mpo", save_all=True, append_images=images[1:])
    assert read_image(tmp_path / "a.mpo").notes == ("only the first of 3 images was read",)

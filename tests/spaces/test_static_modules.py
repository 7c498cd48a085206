"""Tests of the static Space's modules in node: tiles, PNGs, headers, the choice of a model."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import subprocess
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from hfsr import _resources
from hfsr.errors import ImageError
from hfsr.images import read_image
from hfsr.images.alpha_bleed import underlaid
from hfsr.images.compression import read_compression
from hfsr.images.encoding.format_adaptation import fitted
from hfsr.images.metadata.xmp import cleaned_xmp

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="no node: apt-get install nodejs")


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """A copy of the page's modules that node takes for ES modules."""
    folder = tmp_path_factory.mktemp("modules")
    for path in _resources.path("spaces", "browser").glob("*.js"):
        shutil.copyfile(path, folder / path.name)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


@pytest.fixture
def node(modules, tmp_path):
    """Runs a script beside the modules; returns the JSON that it prints."""

    def run(script: str, **values):
        lines = [f"const {name} = {json.dumps(value)};" for name, value in values.items()]
        path = modules / "script.js"
        path.write_text("\n".join(["import fs from 'node:fs';", script.split("---")[0], *lines]))
        path.write_text(path.read_text() + script.split("---")[1])
        done = subprocess.run([NODE, path], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(
    ("size", "halo", "multiple", "memory"),
    [((640, 480), 8, 1, 20_000), ((33, 900), 36, 1, 30_000), ((97, 61), 6, 4, 1), ((5, 3), 20, 1, 1)],
)
def test_tiles_cover_the_image_once_and_start_on_multiples(node, size, halo, multiple, memory):
    script = """import {planTiles, withHalo} from './tiling.js';
    ---
    const plan = planTiles({width: size[0], height: size[1]}, network, memory);
    console.log(JSON.stringify(plan));"""
    network = {"tiling": "local", "halo": halo, "size_multiple": multiple, "memory_per_pixel": 1}
    plan = node(script, size=size, network=network, memory=memory)
    for parts, length in ((plan["columns"], size[0]), (plan["rows"], size[1])):
        assert parts[0][0] == 0
        assert parts[-1][1] == length
        assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))
        assert all(start % multiple == 0 < stop - start for start, stop in parts)

    def read(part, length):
        return min(part[1] + halo, length) - max(part[0] - halo, 0)

    areas = [
        read(rows, size[1]) * read(columns, size[0]) for rows in plan["rows"] for columns in plan["columns"]
    ]
    assert sum(areas) == plan["pixels"]
    assert max(areas) <= max(memory, (2 * halo + 64 + multiple) ** 2)


def test_tiles_of_a_network_with_a_halo_are_the_whole_image(node):
    """A blur of radius 3 with zero borders stands for the network: too small a halo shows."""
    script = """import {restore} from './restoration.js';
    import {readPng} from './png_reader.js';
    ---
    const blur = {async run(planes, height, width) {
        const result = new Float32Array(planes.length * 4), area = height * width;
        for (let c = 0; c < 3; c++) for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
            let sum = 0;
            for (let v = Math.max(0, y - 3); v <= Math.min(height - 1, y + 3); v++)
                for (let u = Math.max(0, x - 3); u <= Math.min(width - 1, x + 3); u++)
                    sum += planes[c * area + v * width + u];
            for (const [dy, dx] of [[0, 0], [0, 1], [1, 0], [1, 1]])
                result[c * area * 4 + (2 * y + dy) * 2 * width + 2 * x + dx] = sum / 49 + 0.001 * dx;
        }
        return result;
    }};
    const width = 150, height = 110, results = [];
    const pixels = Uint8Array.from({length: width * height * 3}, (_, at) => (at * 7919) % 251);
    const image = {width, height, bits: 8, isGray: false, pixels, alpha: null, colorChunks: []};
    for (const [memory, halo] of [[1e9, 3], [1, 3], [1, 2]]) {
        const facts = {tiling: 'local', halo, size_multiple: 1, memory_per_pixel: 1, scale: 2};
        let planned, done = 0;
        const {blob, tiles} = await restore(image, blur, facts,
            {memory, onPlan: (px) => { planned = px; }, onTile: (px) => { done += px; }});
        const {pixels} = await readPng(new Uint8Array(await blob.arrayBuffer()), 1e9);
        results.push({tiles, pixels, isDone: done === planned});
    }
    const same = (a, b) => a.pixels.every((value, at) => value === b.pixels[at]);
    console.log(JSON.stringify({tiles: results.map((r) => r.tiles), done: results.map((r) => r.isDone),
        exact: same(results[0], results[1]), tooSmall: same(results[0], results[2])}));"""
    found = node(script)
    assert found["tiles"][0] == 1
    assert found["tiles"][1] > 1
    assert found["done"] == [True, True, True]
    assert found["exact"] is True
    assert found["tooSmall"] is False


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_written_png_is_read_by_pillow_and_by_the_page(node, modules, channels, bits):
    script = """import {PngWriter, profileChunk} from './png_writer.js';
    import {readPng} from './png_reader.js';
    ---
    const [width, height] = [37, 23];
    const peak = 2 ** bits;
    const samples = (bits === 16 ? Uint16Array : Uint8Array).from(
        {length: width * height * channels}, (_, at) => (at * at * 31 + at) % peak);
    const colorChunks = [await profileChunk(Uint8Array.from({length: 500}, (_, at) => at % 200))];
    const writer = new PngWriter({width, height, channels, bits, colorChunks});
    for (const [from, to] of [[0, 1], [1, 12], [12, 23]])
        await writer.write(samples.slice(from * width * channels, to * width * channels));
    const bytes = new Uint8Array(await (await writer.finish()).arrayBuffer());
    fs.writeFileSync(file, bytes);
    const again = await readPng(bytes, 1e9);
    console.log(JSON.stringify({samples: [...samples], pixels: [...again.pixels],
        alpha: again.alpha && [...again.alpha], chunks: again.colorChunks.map(({name}) => name)}));"""
    file = modules / "out.png"
    found = node(script, channels=channels, bits=bits, file=str(file))
    expected = np.array(found["samples"]).reshape(23, 37, channels)
    colors = 1 if channels < 3 else 3
    assert np.array_equal(np.array(found["pixels"]).reshape(23, 37, colors), expected[..., :colors])
    if channels in (2, 4):
        assert np.array_equal(np.array(found["alpha"]).reshape(23, 37), expected[..., -1])
    assert found["chunks"] == ["iCCP"]
    with Image.open(file) as image:
        image.load()
        assert image.size == (37, 23)
        assert image.info["icc_profile"] == bytes(index % 200 for index in range(500))
        if bits == 8:
            assert np.array_equal(np.asarray(image).reshape(23, 37, channels), expected)


def test_interlaced_and_low_depths_are_decoded(node, modules):
    """Adam7 and 1, 2 and 4 bit; the reference is made by hand, as Pillow writes no interlaced PNG."""
    rng = np.random.default_rng(0)
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    script = """import {readPng} from './png_reader.js';
    ---
    const image = await readPng(new Uint8Array(fs.readFileSync(file)), 1e9);
    console.log(JSON.stringify([...image.pixels]));"""
    for depth in (1, 2, 4, 8):
        samples = rng.integers(0, 1 << depth, (19, 21)).astype(np.uint8)
        data = b""
        for left, top, across, down in passes:
            part = samples[top::down, left::across]
            if part.size:
                bit_rows = (part[..., None] >> np.arange(depth - 1, -1, -1)) & 1
                packed = np.packbits(bit_rows.reshape(len(part), -1), axis=1)
                data += b"".join(b"\0" + row.tobytes() for row in packed)
        head = (21).to_bytes(4, "big") + (19).to_bytes(4, "big") + bytes([depth, 0, 0, 0, 1])
        chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
        file = modules / "interlaced.png"
        file.write_bytes(
            b"\x89PNG\r\n\x1a\n"
            + b"".join(
                len(d).to_bytes(4, "big") + n + d + zlib.crc32(n + d).to_bytes(4, "big") for n, d in chunks
            )
        )
        found = np.array(node(script, file=str(file))).reshape(19, 21)
        assert np.array_equal(found, samples.astype(int) * 255 // ((1 << depth) - 1))


def test_transparent_pixels_get_the_colors_that_hfsr_gives_them(node):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (27, 31, 3)).astype(np.uint8)
    alpha = rng.integers(0, 256, (27, 31)).astype(np.uint8)
    alpha[5:22, 8:25] = 0
    script = """import {fillTransparent} from './alpha_bleed.js';
    ---
    const filled = fillTransparent(Uint8Array.from(pixels), 3, Uint8Array.from(alpha), 31, 27);
    console.log(JSON.stringify([...filled]));"""
    found = node(script, pixels=pixels.ravel().tolist(), alpha=alpha.ravel().tolist())
    difference = np.abs(np.array(found).reshape(pixels.shape) - underlaid(pixels, alpha).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_headers_say_what_the_command_line_says(node, modules, tmp_path):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8))
    files = []
    for name, options in {
        **{f"q{quality}.jpg": {"quality": quality} for quality in (5, 50, 75, 91, 95, 100)},
        "lossy.webp": {"quality": 80},
        "lossless.webp": {"lossless": True},
        "plain.png": {},
        "gray.gif": {},
    }.items():
        image.save(tmp_path / name, **options)
        files.append(str(tmp_path / name))
    script = """import {readHeader} from './headers.js';
    ---
    console.log(JSON.stringify(files.map((file) => readHeader(new Uint8Array(fs.readFileSync(file))))));"""
    for path, found in zip(files, node(script, files=files), strict=True):
        own = read_compression(path)
        assert (found["format"].upper(), found["isLossy"], found["quality"]) == (
            own.format,
            own.is_lossy,
            own.quality,
        )


def test_the_automatic_choice_is_that_of_the_command_line(node):
    script = """import {chooseModel, groupByTask, kindLabel} from './catalog.js';
    ---
    const tasks = groupByTask(models);
    const [two] = tasks;
    console.log(JSON.stringify({
        tasks: tasks.map(({label}) => label),
        kinds: two.models.map((model) => kindLabel(model, two.models)),
        chosen: headers.map((header) => chooseModel(two.models, header).model.name)}));"""
    names = ["hfsr-x2-photo", "hfsr-x2", "hfsr-denoise", "hfsr-x2-small", "hfsr-x4", "hfsr-x3"]
    models = [
        {
            "name": name,
            "scale": int(name[6]) if name[6].isdigit() else 1,
            "task": "super-resolution" if name[6].isdigit() else "denoising",
        }
        for name in names
    ]
    headers = [
        {"format": "JPEG", "isLossy": True, "quality": 94},
        {"format": "JPEG", "isLossy": True, "quality": 95},
        {"format": "PNG", "isLossy": False, "quality": None},
        {"format": "WebP", "isLossy": True, "quality": None},
    ]
    found = node(script, models=models, headers=headers)
    assert found["tasks"] == ["Enlarge 2×", "Enlarge 3×", "Enlarge 4×", "Remove noise"]
    assert found["chosen"] == ["hfsr-x2-photo", "hfsr-x2", "hfsr-x2", "hfsr-x2-photo"]
    assert found["kinds"] == [
        "Photo from the web or a phone",
        "Clean image",
        "Any image, quick and less sharp",
    ]


@pytest.mark.parametrize("restorers", [[], ["denoising"], ["denoising", "jpeg-artifact-removal"]])
def test_tasks_that_keep_the_size_are_those_of_the_models(node, restorers):
    script = """import {groupByTask} from './catalog.js';
    ---
    console.log(JSON.stringify(groupByTask(models).map(({label}) => label)));"""
    models = [{"name": "hfsr-x2", "scale": 2, "task": "super-resolution"}]
    models += [{"name": f"hfsr-{task}", "scale": 1, "task": task} for task in restorers]
    labels = {"denoising": "Remove noise", "jpeg-artifact-removal": "Remove JPEG artifacts"}
    assert node(script, models=models) == ["Enlarge 2×", *(labels[task] for task in restorers)]


def test_a_zip_holds_the_files(node, modules):
    script = """import {makeZip} from './zip_writer.js';
    ---
    const blob = await makeZip(['one', 'two'].map((text) => ({name: 'a.png', blob: new Blob([text])})));
    fs.writeFileSync(file, new Uint8Array(await blob.arrayBuffer()));
    console.log('null');"""
    file = modules / "all.zip"
    node(script, file=str(file))
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "a.png": b"one",
            "a (2).png": b"two",
        }


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_of_an_upright_image_is_that_of_the_command_line(node, order, tmp_path):
    """Descriptive tags stay, those of the former file go, as `hfsr upscale` writes them."""
    exif = Image.Exif()
    exif.endian = order
    exif[0x10F] = "A maker"
    exif[0x112] = 6
    exif[0x11A], exif[0x11B] = 300.0, 72.0  # resolution across and down
    exif[0x100], exif[0x201] = 640, 77  # of the layout
    exif.get_ifd(0x8769).update({0x829A: 0.02, 0xA002: 640, 0xA003: 480, 0x9003: "2026:01:02 03:04:05"})
    exif.get_ifd(0x8825).update({1: "N", 3: "E"})
    Image.new("RGB", (6, 4)).save(tmp_path / "source.jpg", exif=exif)
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    script = """import {uprightExif, readOrientation} from './exif.js';
    ---
    const given = Uint8Array.from(block);
    const changed = uprightExif(given);
    console.log(JSON.stringify([[...changed], readOrientation(given), readOrientation(changed)]));"""
    changed, before, after = node(script, block=[*block])
    assert (before, after) == (6, 1)
    found, own = Image.Exif(), Image.Exif()
    found.load(bytes(changed))
    own.load(read_image(tmp_path / "source.jpg").exif)
    assert dict(found.get_ifd(0x8769)) == dict(own.get_ifd(0x8769))
    assert dict(found.get_ifd(0x8825)) == dict(own.get_ifd(0x8825))
    main = {tag: value for tag, value in found.items() if tag not in (0x8769, 0x8825)}
    assert main == {tag: value for tag, value in own.items() if tag not in (0x8769, 0x8825)}
    assert (main[0x10F], main[0x11A], main[0x11B]) == ("A maker", 72, 300)
    assert 0x100 not in main


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\x08\0\0\0\xff\xff", b"XX*\0\x08\0\0\0\0\0"])
def test_damaged_exif_is_left_out(node, block):
    script = """import {uprightExif} from './exif.js';
    ---
    console.log(JSON.stringify(uprightExif(Uint8Array.from(block))));"""
    assert node(script, block=[*block]) is None


_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:apple="http://ns.apple.com/HDRGainMap/1.0/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/" '
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:t="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:xmp="http://ns.adobe.com/xap/1.0/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" xmlns:e="http://ns.adobe.com/exif/1.0/" '
    'xmlns:GDepth="http://ns.google.com/photos/1.0/depthmap/" xmlns:MP="http://ns.microsoft.com/photo/1.2/" '
    'xmlns:GPano="http://ns.google.com/photos/1.0/panorama/" '
    'xmlns:mwg="http://www.metadataworkinggroup.com/schemas/regions/" {attributes}>'
    "<dc:title>Größe &gt; 0</dc:title>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>\n"
    "  <?xpacket end='w'?>"
)


def packet(attributes: str = "", elements: str = "") -> bytes:
    return _PACKET.format(attributes=attributes, elements=elements).encode()


XMP = [
    packet('GCamera:BurstID="7" t:Make="Maker"', "<xmp:CreateDate>2026</xmp:CreateDate><!-- a - b -->"),
    packet('t:Orientation="6" t:ImageWidth="8" e:PixelXDimension = \'8\' dc:source="a scan"'),
    packet("", "<t:Orientation>8</t:Orientation><t:BitsPerSample><rdf:Seq><rdf:li>8</rdf:li></rdf:Seq>"
           "</t:BitsPerSample><xmp:Thumbnails><rdf:Alt><rdf:li>AAAA</rdf:li></rdf:Alt></xmp:Thumbnails>"),
    packet('hdrgm:Version="1.0"', "<Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Mime='image'/>"
           "</rdf:li></rdf:Seq></Container:Directory><hdrgm:GainMapMax>1</hdrgm:GainMapMax>"),
    packet("apple:HDRGainMapVersion='65536' xmpNote:HasExtendedXMP=\"ABCD\""),
    packet('GCamera:MotionPhoto="1" GCamera:MotionPhotoVersion="1"',
           "<GCamera:MicroVideo>1</GCamera:MicroVideo>"),
    packet('GDepth:Data="/9j/4AAQ" GPano:FullPanoWidthPixels="8000"', "<![CDATA[<a & b>]]>"),
    packet("", "<mwg:Regions rdf:parseType='Resource'><mwg:RegionList>1</mwg:RegionList></mwg:Regions>"
           "<MP:RegionInfo>0</MP:RegionInfo><mwg:Other/>"),
    b"<?xml version='1.0'?>" + packet(),
    packet("a='&#228;&amp;'") + b"\n<!-- end -->",
]  # fmt: skip
DAMAGED_XMP = [
    packet()[:-60],
    b"not xml",
    b"",
    b"\xff" + packet(),
    packet().replace(b"Gr\xc3", b"Gr"),
    packet("dc:a='1' dc:a='2'"),
    packet("dc:a='<'"),
    packet("dc:a=1"),
    packet("", "<dc:a>"),
    packet("", "<dc:a></dc:b>"),
    packet("", "a & b"),
    packet("", "&undeclared;"),
    packet("", "]]>"),
    packet("", "\x01"),
    packet("", "<!-- a -- b -->"),
    packet("", "<?open"),
    packet() + b"<more/>",
    packet() + b"text",
    b" " + b"<?xml version='1.0'?>" + packet(),
    b'<!DOCTYPE a [<!ENTITY b "cc">]><a>&b;</a>',
]


@pytest.mark.parametrize("is_turned", [False, True])
def test_xmp_of_an_upright_image_is_that_of_the_command_line(node, is_turned):
    script = """import {cleanedXmp} from './xmp.js';
    ---
    const found = packets.map((packet) => cleanedXmp(Uint8Array.from(packet), isTurned));
    console.log(JSON.stringify(found.map(({xmp, notes}) => [xmp && [...xmp], notes])));"""
    found = node(script, packets=[[*xmp] for xmp in XMP + DAMAGED_XMP], isTurned=is_turned)
    for xmp, (changed, notes) in zip(XMP, found[: len(XMP)], strict=True):
        expected, expected_notes = cleaned_xmp(xmp, is_turned=is_turned)
        assert (bytes(changed), notes) == (expected, expected_notes)
    assert any(bytes(changed) != xmp for xmp, (changed, _) in zip(XMP, found[: len(XMP)], strict=True))
    for xmp, (changed, notes) in zip(DAMAGED_XMP, found[len(XMP) :], strict=True):
        with pytest.raises((ImageError, UnicodeDecodeError)) as error:
            cleaned_xmp(xmp, is_turned=is_turned)
        is_text = not isinstance(error.value, UnicodeDecodeError)
        assert changed is None
        assert notes == [f"its XMP is {'damaged' if is_text else 'not UTF-8'} and was left out"]


def test_xmp_and_the_notes_of_a_jpeg_are_those_of_the_command_line(node, tmp_path, modules):
    iptc = b"\x1c\x02\x05\x00\x05title"
    resources = b"".join(
        b"8BIM" + kind.to_bytes(2, "big") + name + len(data).to_bytes(4, "big") + data + bytes(len(data) % 2)
        for kind, name, data in ((0x0BB7, b"\0\0", bytes(5)), (0x0404, b"\3abc", iptc))
    )
    photoshop = b"Photoshop 3.0\0" + resources
    segment = b"\xff\xed" + (len(photoshop) + 2).to_bytes(2, "big") + photoshop
    images = [Image.new("RGB", (16, 8), (shade, 0, 0)) for shade in (0, 90, 180)]
    images[0].save(tmp_path / "a.jpg", xmp=packet('hdrgm:Version="1.0"'), extra=segment)
    images[0].save(tmp_path / "b.jpg", format="MPO", save_all=True, append_images=images[1:])
    images[0].save(tmp_path / "c.webp", xmp=packet() + bytes(3))
    images[0].save(tmp_path / "d.jpg")
    script = """import {readHeader} from './headers.js';
    import {cleanedXmp} from './xmp.js';
    ---
    const found = files.map((file) => readHeader(new Uint8Array(fs.readFileSync(file))));
    const cleaned = found.map(({xmp}) => xmp ? cleanedXmp(xmp, false) : {xmp: null, notes: []});
    console.log(JSON.stringify(cleaned.map(
        ({xmp, notes}, index) => [xmp && [...xmp], [...notes, ...found[index].notes]])));"""
    files = [tmp_path / name for name in ("a.jpg", "b.jpg", "c.webp", "d.jpg")]
    left_out = "its IPTC was left out: PNG cannot store it"
    for path, (xmp, notes) in zip(files, node(script, files=[*map(str, files)]), strict=True):
        image = fitted(read_image(path), "PNG")
        assert (xmp and bytes(xmp)) == image.xmp
        assert notes == [*image.notes]
        assert (left_out in notes) == (path.name == "a.jpg")
    assert image.xmp is None


@pytest.mark.parametrize("body", [b"", b"II*\0", b"MM\0*\0\0\0\x08\0\x01\xb0\x02\0\7\0\0\xff\0\0\0\0\x10"])
def test_damaged_segments_of_a_jpeg(node, body):
    script = """import {countImages, hasIptc} from './jpeg_segments.js';
    ---
    const bytes = Uint8Array.from(body);
    const records = new TextEncoder().encode("8BIM\\u0004\\u0004\\u0000\\u0000");
    console.log(JSON.stringify([countImages(bytes), hasIptc(bytes), hasIptc(records)]));"""
    assert node(script, body=[*body]) == [1, False, False]


@pytest.mark.parametrize("compressed", [False, True])
def test_xmp_of_a_png_is_read_and_written(node, modules, compressed):
    script = """import {PngWriter} from './png_writer.js';
    import {readImage} from './image_reader.js';
    ---
    const image = await readImage(new Blob([fs.readFileSync(source)]), 1e9);
    const writer = new PngWriter({...image, channels: 3});
    await writer.write(image.pixels);
    fs.writeFileSync(file, new Uint8Array(await (await writer.finish()).arrayBuffer()));
    console.log(JSON.stringify(image.notes));"""
    source, file = modules / "source.png", modules / "out.png"
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt(
        "XML:com.adobe.xmp", packet('t:ImageWidth="4" t:Orientation="6"').decode(), "en", "", compressed
    )
    exif = Image.Exif()
    exif[0x112] = 6
    Image.new("RGB", (4, 3), (90, 40, 200)).save(source, pnginfo=texts, exif=exif)
    assert node(script, source=str(source), file=str(file)) == []
    written = read_image(file)
    assert written.xmp == read_image(source).xmp == packet('t:Orientation="1"')
    assert written.pixels.shape == (4, 3, 3)
    with Image.open(file) as image:
        assert image.info["XML:com.adobe.xmp"].encode() == written.xmp


def test_damaged_xmp_of_a_png_is_left_out(node, modules):
    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    buffer = io.BytesIO()
    Image.new("RGB", (4, 3)).save(buffer, "PNG")
    start, end = buffer.getvalue()[:-12], buffer.getvalue()[-12:]
    script = """import {readPng} from './png_reader.js';
    ---
    const found = [];
    for (const file of files) found.push(await readPng(Uint8Array.from(file), 1e9));
    console.log(JSON.stringify(found.map(({xmp, notes}) => [xmp && [...xmp], notes])));"""
    keyword = b"XML:com.adobe.xmp\0"
    bodies = [b"\1\0\0\0no deflate", b"\1\0\0\0" + zlib.compress(bytes((1 << 26) + 1)), b"\0\0\0"]
    files = [[*(start + chunk(b"iTXt", keyword + body) + end)] for body in bodies]
    note = "its XMP is damaged, or larger than 64 MiB, and was left out"
    assert node(script, files=files) == [[None, [note]], [None, [note]], [[], []]]

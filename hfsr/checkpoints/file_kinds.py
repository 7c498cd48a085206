"""Recognition, by their first bytes, of files that are not checkpoints or do not match their extension."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

__all__ = ["describe_content"]

_HEAD = 512
_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"GGUF", "a GGUF file of llama.cpp; hfsr reads PyTorch's and safetensors files"),
    (b"\x89HDF", "an HDF5 file, as Keras and TensorFlow write; convert it to PyTorch first"),
    (b"\x93NUMPY", "an array of NumPy; save the network's state_dict() instead"),
    (b"MATLAB ", "a MATLAB file; name it .mat"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive; unpack it and name the checkpoint in it"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it and name the checkpoint in it"),
    (b"Rar!", "a RAR archive; unpack it and name the checkpoint in it"),
    (b"7767517", "the graph of an ncnn network; hfsr reads PyTorch's and safetensors files"),
)
"""First bytes -> description of the file, and what to do."""


def describe_content(path: Path) -> str | None:
    """Describes the kind of a file and what to do, as text that follows "is"; None for unknown bytes.

    Args:
        path: an existing file that cannot be read as its extension suggests.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page (HTML) instead of the file; download the file itself by its raw link"
    if text.startswith(b"<?xml"):
        return "an XML document, which servers send for errors; download the file again"
    if re.match(rb'[{\[]\s*["{}\]]', text):
        return "JSON text, which servers send for errors; download the file again"
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model; convert it to PyTorch first"
    if path.suffix.lower() == ".bin" and path.with_suffix(".param").is_file():
        return "the weights of an ncnn network; hfsr reads PyTorch's and safetensors files"
    if _is_header_of_safetensors(head):
        return "a safetensors file; name it .safetensors"
    return _describe_archive(path) if head.startswith(b"PK\x03\x04") else _describe_pickle(head)


def _is_header_of_safetensors(head: bytes) -> bool:
    return len(head) > 9 and head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 1 << 27


def _describe_pickle(head: bytes) -> str | None:
    is_pickle = len(head) > 64 and head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return "a pickle, the format of PyTorch checkpoints; name it .pth" if is_pickle else None


def _describe_archive(path: Path) -> str | None:
    """Describes the content of a ZIP archive; returns None for a truncated one."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/data.pkl") or name == "data.pkl" for name in names):
        return "a PyTorch checkpoint; name it .pth"
    inside = [name for name in names if name.lower().endswith((".pth", ".pt", ".safetensors", ".ckpt"))]
    named = f" ('{inside[0]}')" if inside else ""
    return f"a ZIP archive; unpack it and name the checkpoint in it{named}"

"""What the Hub server of the tests keeps: repositories, commits and files, and what it says of a card."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

__all__ = ["Blob", "Repo", "card_errors", "file_entry", "is_large"]

FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


@dataclass(frozen=True)
class Blob:
    """One file of a commit."""

    data: bytes
    lfs: bool

    @property
    def git_oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """What the client compares with a local file: SHA-256 of large files, git's SHA-1 of the others."""
        return self.sha256 if self.lfs else self.git_oid


@dataclass
class Repo:
    """A repository: commits by id, and branches, tags and pull requests that point to them."""

    id: str
    private: bool = False
    gated: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def add_commit(self, ref: str, files: dict[str, Blob]) -> str:
        oid = hashlib.sha1(f"{self.id} {len(self.commits)}".encode()).hexdigest()
        self.commits[oid] = files
        self.refs[ref] = oid
        return oid

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch, tag, `refs/pr/N` or commit id names."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)

    def files(self, revision: str = "main") -> dict[str, Blob]:
        return self.commits[self.refs[revision]]


def is_large(path: str, size: int) -> bool:
    return path.endswith((".safetensors", ".pth", ".pt", ".png", ".webp", ".bin")) or size > 10_000_000


def file_entry(path: str, blob: Blob) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.git_oid}
    if blob.lfs:
        entry["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 134}
    return entry


def card_errors(content: str) -> list[str]:
    """What the Hub would say about a card's front matter."""
    match = FRONT_MATTER.match(content)
    if not match:
        return ["no front matter"]
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        return [f"bad YAML: {error}"]
    if not isinstance(data, dict):
        return ["the front matter must be a mapping"]
    errors = []
    if not isinstance(data.get("license", ""), str):
        errors.append('"license" must be a string')
    if not isinstance(data.get("tags", []), list):
        errors.append('"tags" must be a list')
    for model in data.get("model-index", []):
        for result in model["results"]:
            if not result.get("task", {}).get("type"):
                errors.append('"model-index[0].results[0].task.type" is required')
            if not {"name", "type"} <= set(result.get("dataset", {})):
                errors.append('"model-index[0].results[0].dataset" needs name and type')
            if not all({"type", "value"} <= set(metric) for metric in result.get("metrics", [{}])):
                errors.append('"model-index[0].results[0].metrics" need type and value')
    return errors

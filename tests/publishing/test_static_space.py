"""The static Space: its files, its runtime, and its upload by `hfsr push-space --static`."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import hfsr
from hfsr import _resources
from hfsr.errors import HfsrError, OptionsError, PlanError
from hfsr.publishing import static_space, web_runtime
from hfsr.publishing.static_space import SITE, bundled_page_models, stage_static_space
from hfsr.publishing.web_runtime import RUNTIME_FILES, find_runtime, pinned_runtime

from ..hub.client import Client
from ..hub.server import HubServer
from .fake_runtime import write_package

PUSH = """
import os, sys
os.environ["HFSR_CACHE"] = cache
sys.path.insert(0, root)
from pathlib import Path
from hfsr.cli import main
from tests.publishing.fake_runtime import pin, write_package
pin(write_package(Path("runtime.tgz")))
result = main(["push-space", *words])
"""
ROOT = str(Path(__file__).resolve().parents[2])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache for all tests here, so that the model is exported once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def runtime(cache, tmp_path, monkeypatch):
    """A package of the runtime that is pinned and outside the cache."""
    monkeypatch.setenv("HFSR_CACHE", str(cache))
    pinned = write_package(tmp_path / "runtime.tgz")
    monkeypatch.setattr(web_runtime, "pinned_runtime", lambda: pinned)
    monkeypatch.setattr(static_space, "pinned_runtime", lambda: pinned)
    return tmp_path / "runtime.tgz"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "small"
    hfsr.save_pretrained(hfsr.create_model("edsr_tiny"), folder)
    return str(folder)


def test_the_folder_is_a_complete_static_space(runtime, model, tmp_path):
    told = []
    folder = stage_static_space(
        tmp_path / "site", [model], repo_id="org/mine", runtime=runtime, report=told.append
    )
    assert told == [model]
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"index.html", "page.js", "worker.js", "service_worker.js", "README.md", SITE} <= names
    assert {f"runtime/1.2.3/{name}" for name in (*RUNTIME_FILES, "LICENSE-onnxruntime.txt")} <= names
    assert {"models/small/model.onnx", "models/small/manifest.json"} <= names
    assert "runtime.txt" not in names
    front = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert (front["sdk"], front["title"], front["models"]) == ("static", "mine", [])
    assert front["custom_headers"] == {
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-resource-policy": "cross-origin",
    }
    site = json.loads((folder / SITE).read_text())
    assert site["runtime"] == "runtime/1.2.3/"
    assert all((folder / name.partition("?")[0]).is_file() for name in [*site["small"], *site["large"]])
    assert not any("jspi" in name for name in site["large"])  # only for WebGPU, on request
    assert site["first_load"] == sum(
        (folder / name.partition("?")[0]).stat().st_size for name in [*site["small"], *site["large"]]
    )


def test_models_beyond_the_first_load_are_not_kept_in_advance(runtime, model, tmp_path, monkeypatch):
    monkeypatch.setattr(static_space, "FIRST_LOAD", 1000)
    site = json.loads((stage_static_space(tmp_path / "site", [model], runtime=runtime) / SITE).read_text())
    assert not any("model.onnx" in name for name in site["large"])


NAMESPACES = (
    r"http://(?:www\.w3\.org|ns\.(?:adobe|apple|google|microsoft)\.com|www\.metadataworkinggroup\.com)/"
)
"""Names of SVG's and XMP's vocabularies, from which nothing is loaded."""


def test_modules_and_files_that_the_page_names_are_there():
    """Imports, links and workers of the page lead to its own files."""
    folder = _resources.path("spaces", "browser")
    for path in [*folder.glob("*.js"), folder / "index.html", folder / "style.css"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", re.sub(NAMESPACES, "", text)), path
        for name in re.findall(r"""(?:from |href=|src=|Worker\()"(\./)?([\w./]+\.(?:js|css|svg))""", text):
            assert (folder / name[1]).is_file(), (path, name)


def test_the_readme_lists_every_file():
    folder = _resources.path("spaces", "browser")
    listed = set(re.findall(r"`([a-z_]+\.(?:js|html|css|svg))`", (folder / "README.md").read_text()))
    assert listed == {
        path.name for path in folder.iterdir() if path.suffix in (".js", ".html", ".css", ".svg")
    }


def test_bundled_models_are_the_default_and_first_loads_come_first():
    names = bundled_page_models()
    assert sorted(names) == sorted(_resources.bundled_models())
    assert names[:3] == ["hfsr-x2-photo", "hfsr-x2", "hfsr-denoise"]


def test_an_earlier_space_is_replaced_and_nothing_else(runtime, model, tmp_path):
    folder = tmp_path / "site"
    stage_static_space(folder, [model], runtime=runtime)
    (folder / "old.txt").touch()
    stage_static_space(folder, [model], runtime=runtime)
    assert not (folder / "old.txt").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kept").touch()
    with pytest.raises(OptionsError, match="is there and is no static Space"):
        stage_static_space(tmp_path / "mine", [model], runtime=runtime)
    assert (tmp_path / "mine/kept").exists()


def test_refusals_leave_nothing_behind(runtime, model, tmp_path):
    with pytest.raises(OptionsError, match="needs a model"):
        stage_static_space(tmp_path / "site", [], runtime=runtime)
    with pytest.raises(OptionsError, match="two models are named 'small'"):
        stage_static_space(tmp_path / "site", [model, model], runtime=runtime)
    hfsr.save_pretrained(hfsr.create_model("csnln_tiny"), tmp_path / "windowed")
    with pytest.raises(PlanError, match="CSNLN"):
        stage_static_space(tmp_path / "site", [str(tmp_path / "windowed")], runtime=runtime)
    assert not (tmp_path / "site").exists()


def test_the_pinned_version_is_read_from_the_page():
    pinned = pinned_runtime()
    assert pinned.package == "onnxruntime-web"
    assert pinned.file_name == f"onnxruntime-web-{pinned.version}.tgz"
    assert pinned.integrity.startswith("sha512-")


def test_another_file_is_no_runtime(runtime, tmp_path):
    (tmp_path / "other.tgz").write_bytes(b"something else")
    with pytest.raises(HfsrError, match="its SHA-512 differs from the pinned one"):
        find_runtime(tmp_path / "other.tgz")
    with pytest.raises(HfsrError, match="cannot be read"):
        find_runtime(tmp_path / "missing.tgz")


def test_npm_fetches_the_runtime_once(runtime, tmp_path, monkeypatch):
    monkeypatch.setenv("HFSR_CACHE", str(tmp_path / "cache"))
    calls = []

    def pack(command, *, cwd, **options):
        calls.append(command)
        (Path(cwd) / "onnxruntime-web-1.2.3.tgz").write_bytes(runtime.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(web_runtime.subprocess, "run", pack)
    first, second = find_runtime(), find_runtime()
    assert first == second == tmp_path / "cache/onnxruntime-web-1.2.3.tgz"
    assert calls == [["/bin/npm", "pack", "--loglevel=error", "onnxruntime-web@1.2.3"]]


def test_without_npm_or_a_connection_it_says_what_to_do(runtime, tmp_path, monkeypatch):
    monkeypatch.setenv("HFSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: None)
    with pytest.raises(HfsrError, match=r"npm, which fetches it, is not installed; fetch .* --runtime FILE"):
        find_runtime()
    monkeypatch.setattr(web_runtime.shutil, "which", lambda name: "/bin/npm")
    failed = subprocess.CompletedProcess([], 1, "", "npm error code ENOTFOUND\n")
    monkeypatch.setattr(web_runtime.subprocess, "run", lambda *args, **options: failed)
    with pytest.raises(HfsrError, match=r"failed \(npm error code ENOTFOUND\); fetch"):
        find_runtime()


def test_a_runtime_that_lacks_a_file_is_refused(cache, model, tmp_path, monkeypatch):
    monkeypatch.setenv("HFSR_CACHE", str(cache))
    pinned = write_package(tmp_path / "half.tgz", RUNTIME_FILES[:2])
    monkeypatch.setattr(web_runtime, "pinned_runtime", lambda: pinned)
    monkeypatch.setattr(static_space, "pinned_runtime", lambda: pinned)
    with pytest.raises(HfsrError, match=r"lacks ort-wasm-simd-threaded\.wasm"):
        stage_static_space(tmp_path / "site", [model], runtime=tmp_path / "half.tgz")
    assert not (tmp_path / "site").exists()


def test_the_command_uploads_it(hub: HubServer, publisher: Client, model: str, cache: Path) -> None:
    words = ["org/still", "--static", "--model", model, "--runtime", "runtime.tgz"]
    with hub.recorded() as calls:
        outcome = publisher.run(PUSH, root=ROOT, cache=str(cache), words=[*words, "--dry-run"])
    assert outcome.result == 0, outcome.stderr
    assert calls == []
    assert "nothing was uploaded; without --dry-run, this folder goes to org/still" in outcome.stdout
    outcome = publisher.run(PUSH, root=ROOT, cache=str(cache), words=words)
    assert outcome.result == 0, outcome.stderr
    assert outcome.stdout.endswith(f"{hub.url}/spaces/org/still\n")
    space = hub.repos["spaces/org/still"]
    assert space.settings == {"sdk": "static"}
    files = space.files()
    assert {"index.html", SITE, "models/small/model.onnx", f"runtime/1.2.3/{RUNTIME_FILES[0]}"} <= set(files)
    again = publisher.run(PUSH, root=ROOT, cache=str(cache), words=words)
    assert "nothing has changed" in again.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["org/still", "--static", "--hardware", "t4-small"], "has no hardware"),
        (["org/still", "--runtime", "runtime.tgz"], "--runtime is for a static Space; add --static"),
        (["org/still"], "a Space needs a model to offer; name one with --model, or add --static"),
        (["still", "--static"], "is not an id on the Hub"),
        (
            ["org/still", "--static", "--runtime", "runtime.tgz", "--model", "missing.pth"],
            "no checkpoint file 'missing.pth'",
        ),
    ],
)
def test_wrong_usage_is_one_line(
    hub: HubServer, publisher: Client, cache: Path, words: list[str], told: str
) -> None:
    outcome = publisher.run(PUSH, root=ROOT, cache=str(cache), words=words)
    assert outcome.result in (1, 2)
    assert told in outcome.stderr
    assert outcome.stderr.count("\n") == 1

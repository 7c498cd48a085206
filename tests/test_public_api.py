"""What people import: complete, sorted, typed, and light."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import hfsr

PACKAGE = Path(hfsr.__file__).parent
MODULES = sorted(
    m.name for m in pkgutil.walk_packages([str(PACKAGE)], "hfsr.") if not m.name.endswith("__main__")
)

HEAVY = frozenset(
    {"accelerate", "basicsr", "cv2", "gradio", "matplotlib", "nncf", "onnx", "openvino", "pydantic"}
    | {"skimage", "spandrel", "timm", "torchvision"}
)
"""Packages that a person who only upscales never loads, whether installed or not."""

LIGHT = frozenset({"PIL", "huggingface_hub", "numpy", "safetensors", "torch"})
"""Packages that are loaded when something is done with them."""


def names_loaded_by(code: str) -> set[str]:
    """Top-level packages in a fresh interpreter after this code."""
    code = textwrap.dedent(code) + "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_all_is_sorted_and_complete():
    assert hfsr.__all__ == sorted(hfsr.__all__)
    assert set(hfsr.__all__) == {*hfsr._HOMES, "__version__"}
    assert dir(hfsr) == hfsr.__all__


def test_type_checkers_see_the_same_homes():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {alias.name: statement.module for statement in block.body for alias in statement.names}
    assert seen == hfsr._HOMES


@pytest.mark.parametrize("name", sorted(hfsr._HOMES))
def test_every_public_name_is_public_at_home(name):
    home = importlib.import_module(hfsr._HOMES[name])
    assert name in home.__all__
    assert getattr(hfsr, name) is getattr(home, name)
    assert getattr(hfsr, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'hfsr' has no attribute 'upscale'"):
        hfsr.upscale  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_what_it_exports_and_says_what_it_is(name):
    module = importlib.import_module(name)
    assert module.__doc__
    exported = getattr(module, "__all__", [])
    assert [n for n in exported if not hasattr(module, n)] == []
    assert len(exported) == len(set(exported))


def test_import_hfsr_loads_no_library():
    assert not names_loaded_by("import hfsr") & (HEAVY | LIGHT)


def test_the_command_line_answers_without_torch():
    code = "import hfsr.cli\ntry:\n    hfsr.cli.main(['--help'])\nexcept SystemExit:\n    pass"
    assert not names_loaded_by(code) & (HEAVY | LIGHT)


def test_images_are_read_without_torch():
    assert "torch" not in names_loaded_by("import hfsr.images")


def test_upscaling_and_listing_need_no_extra():
    names_loaded_by(
        f"""
        import sys
        sys.modules.update(dict.fromkeys({sorted(HEAVY)!r}))  # importing any of them now fails
        import hfsr, hfsr.cli, torch
        model = hfsr.create_model("edsr_tiny")
        hfsr.Upscaler(model, tile=8, dtype="fp32").tensor(torch.rand(1, 3, 11, 13))
        for command in (["list"], ["info", "edsr_tiny"]):
            if hfsr.cli.main(command) != 0:
                raise SystemExit(f"{{command}} failed")
        """
    )


def test_training_without_its_extra_is_one_line():
    blocked = ["accelerate", "basicsr", "pydantic"]
    code = f"""
    import sys
    sys.modules.update(dict.fromkeys({blocked!r}))
    from hfsr.cli.basicsr import main
    sys.exit(main(["train", "-opt", "quickstart_x2.yml"]))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install -c constraints.txt '.[train]'" in done.stderr


def test_inference_loads_none_of_the_heavy_packages():
    loaded = names_loaded_by(
        """
        import hfsr, torch
        hfsr.from_pretrained, hfsr.push_to_hub, hfsr.load_checkpoint
        up = hfsr.Upscaler(hfsr.create_model("edsr_tiny"), tile=8, dtype="fp32")
        out = up.tensor(torch.rand(1, 3, 11, 13))
        if out.shape != (1, 3, 22, 26):
            raise SystemExit(f"wrong shape {out.shape}")
        """
    )
    assert "torch" in loaded
    assert not loaded & HEAVY

"""Memory that is written past its end or after it is freed: glibc's own checks, around what shares tensors.

The heap is shared by torch, OpenVINO and NumPy, and its limits are moved while a network runs.
"""

from __future__ import annotations

import ctypes.util
import sys

import pytest

from .separate_process import run_python, run_tests

DEBUG = "libc_malloc_debug.so.0"
CHECKED = {"LD_PRELOAD": DEBUG, "MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "85"}
"""Each block is checked when it is freed, and then filled with other bytes."""
TESTS = (
    "tests/inference/conversion/test_quantization.py::test_openvino_gives_what_torch_gives",
    "tests/inference/backends/test_backends.py::test_bf16_is_near_fp32",
    "tests/inference/backends/test_backends.py::test_an_image_of_the_same_size_compiles_nothing_anew",
    "tests/inference/runtime/test_glibc_heap.py::test_whatever_is_expected_of_the_heap_tensors_come_from_it",
    "tests/inference/execution/test_out_of_memory.py::test_running_out_now_and_then_changes_nothing",
    "tests/priors/test_generative.py::test_inpaint_fills_the_hole",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or ctypes.util.find_library("c_malloc_debug") is None,
        reason=f"the C library has no {DEBUG}",
    ),
]


def test_the_check_finds_a_byte_written_past_the_end() -> None:
    code = (
        "import ctypes; api = ctypes.pythonapi; api.PyMem_RawMalloc.restype = ctypes.c_void_p;"
        "block = api.PyMem_RawMalloc(ctypes.c_size_t(100));"
        "byte = ctypes.c_ubyte.from_address(block + {}); byte.value ^= 255;"
        "api.PyMem_RawFree(ctypes.c_void_p(block))"
    )
    assert run_python("-c", code.format(99), variables=CHECKED).returncode == 0
    assert run_python("-c", code.format(100), variables=CHECKED).returncode < 0


@pytest.mark.timeout(900)
def test_nothing_writes_where_it_may_not() -> None:
    run_tests(*TESTS, variables=CHECKED)

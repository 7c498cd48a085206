"""Results on CPUs with fewer instructions than this one: the same tests, in a process held to those."""

from __future__ import annotations

import pytest

from .separate_process import run_python, run_tests

INSTRUCTION_SETS = {
    "AVX2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "AVX2 in oneDNN alone": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"},
}
TESTS = (
    ("tests/archs/test_rcan.py", "parity"),
    ("tests/archs/test_contract.py", "bfloat16 or single or core_traces"),
    ("tests/inference/conversion/test_quantization.py", "gives or near"),
    ("tests/inference/backends/test_backends.py", "any_size or bf16"),
    ("tests/inference/test_exactness.py", "pieces_equal"),
    ("tests/training/test_recipes_gan.py", "larger_batch or goes_on"),
)
"""Files, and which of their tests: they compare results of kernels of torch, oneDNN and OpenVINO."""


@pytest.mark.slow
@pytest.mark.parametrize("instructions", INSTRUCTION_SETS)
def test_the_process_is_held_to_them(instructions: str) -> None:
    """Without this the tests below might run as all others do."""
    code = (
        "import torch; print(torch.backends.cpu.get_cpu_capability());"
        "torch.backends.mkldnn.verbose(1).__enter__();"
        "torch.nn.functional.conv2d(torch.rand(4, 16, 64, 64), torch.rand(16, 16, 3, 3))"
    )
    told = run_python("-c", code, variables=INSTRUCTION_SETS[instructions])
    assert told.returncode == 0, told.stderr
    capability, *verbose = told.stdout.splitlines()
    assert capability == INSTRUCTION_SETS[instructions]["ATEN_CPU_CAPABILITY"].upper()
    convolutions = [line for line in verbose if "convolution" in line]
    assert convolutions
    assert not any("avx512" in line or "amx" in line for line in convolutions)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("instructions", INSTRUCTION_SETS)
@pytest.mark.parametrize(("file", "names"), TESTS, ids=lambda value: value.rpartition("/")[2])
def test_results_hold_on_other_cpus(instructions: str, file: str, names: str) -> None:
    run_tests(file, "-k", names, variables=INSTRUCTION_SETS[instructions])

"""The command for a machine with a GPU, as far as it runs without one."""

import pytest

from benchmarks import gpu, gpu_sections, gpu_steps
from benchmarks.gpu_table import table_of

OPTIONS = gpu_sections.Options(backend="numpy", agree_steps=2, jobs=1, tests="tests")


def findings(capsys) -> dict:
    return gpu.findings_in(capsys.readouterr().out)


def test_a_side_is_measured(capsys):
    gpu_steps.measure("ours", "micro:4", "numpy", steps=2)
    found = findings(capsys)
    assert len(found["times"]) == 2 and min(found["times"]) > 0
    assert found["batch"] == 4 and found["flop"] > 1e8 and found["loss"] > 0


def test_losses_are_compared(capsys):
    gpu_sections.losses(OPTIONS)
    found = findings(capsys)
    assert found["float64_ok"] and found["float64_shards_ok"] and found["float32_gap"] == 0.0
    assert found["float64_last"] != found["float64_first"]


def test_what_was_known_before_a_crash_is_kept():
    output = 'Warning: something\n{"a": 1}\n{"b": [2]}\nTraceback (most recent call last):\n'
    assert gpu.findings_in(output) == {"a": 1, "b": [2]}
    assert gpu.findings_in(output + '{"times": [1.0, 2.') == {"a": 1, "b": [2]}


def test_turns_are_joined():
    turns = [{"times": [1.0, 2.0, 9.0], "loss": 4.0}, {"times": [2.0, 3.0, 4.0]}, {"ended": "?"}]
    found = gpu.joined(turns)
    assert found == {"loss": 4.0, "ended": "?", "ms": 2.5, "turns_ms": [2.0, 3.0]}


def test_a_child_that_fails_is_reported(tmp_path):
    arguments = gpu.parse_arguments(["--backend", "numpy", "--out", str(tmp_path)])
    found = gpu.Run(arguments).child(["benchmarks.no_such_module"], limit=60)
    assert "see" in found["ended"] and "no_such_module" in (tmp_path / "log.txt").read_text()


def test_faults_are_named():
    found = {
        "losses": {"float64_ok": False, "float64_shards_ok": True},
        "peak": {"ended": "with code -9"},
        "suite": {"code": 1},
        "steps": {"tiny": {"ours": {"ended": "with code 1"}}, "base32": {"ours": {"ms": 1.0}}},
    }
    assert gpu.faults_in(found) == ["float64_ok", "suite", "peak", "steps of tiny"]
    assert gpu.faults_in({"steps": {"tiny": {"ours": {}, "torch": {"ended": "?"}}}}) == []


def test_the_table():
    sides = {
        "ours": {"ms": 20.0, "flop": 4e12, "launches": 500.0, "memory_mb": 1000.4},
        "torch": {"ms": 16.0, "flop": 4e12},
    }
    found = {
        "machine": {"gpu": "H100", "cupy": "14.2"},
        "losses": {"float64_gap": 2e-14, "float64_ok": True, "step_waits": "nothing"},
        "launches": {"tiny": 463, "base32": 563},
        "peak": {"product_tflops": 400.0},
        "steps": {"tiny": sides},
        "gradients": {"summary": "9 passed in 1s"},
    }
    table = table_of(found)
    assert "H100, cupy 14.2" in table and "float64 2.0e-14" in table
    assert "| tiny | this project | 20 | 1.25 | 500 | 50% | 1000 |" in table
    assert "| tiny | PyTorch | 16 | 1.00 | - | 62% | - |" in table
    assert "on the stand-in: tiny 463, base32 563" in table
    assert "gradients: 9 passed" in table
    assert table_of({}) == "\n"


def test_sections_that_do_not_exist_are_refused(capsys):
    with pytest.raises(SystemExit):
        gpu.parse_arguments(["--sections", "speed"])
    assert "invalid choice" in capsys.readouterr().err

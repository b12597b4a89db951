"""SECURITY.md and these tests name one another."""

import re
from pathlib import Path

from paths import ROOT

TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_each_file_of_attacks_holds_a_promise():
    here = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    assert here - {Path(__file__).name} <= set(re.findall(r"test_\w+\.py", TEXT))


def test_each_folder_of_tests_that_is_named_exists():
    for name in re.findall(r"`(tests/[\w/.]+)`", TEXT):
        assert (ROOT / name).exists(), name

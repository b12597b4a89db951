"""A few thousand damaged files; `fuzz_files.py` makes as many more as one likes."""

import os
import subprocess
import sys

import pytest
from paths import ROOT

TESTS = ROOT / "tests" / "helpers"


def fuzz(*options):
    """Run in a fresh interpreter: an audit hook stays as long as the program runs."""
    return subprocess.run(
        [sys.executable, "-c", *options],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_damaged_files_are_harmless():
    finished = fuzz("from fuzz_files import fuzz; print(fuzz(3000, 0))")
    assert finished.returncode == 0, finished.stderr
    for suffix in (".npz", ".safetensors", ".pt"):
        assert f"('{suffix}', 'read')" in finished.stdout
        assert f"('{suffix}', 'refused')" in finished.stdout


# A reader that is not safe, put in the place of ours.
UNSAFE = {
    "runs": ("pickle.loads(zipfile.ZipFile(path).read('net/data.pkl'))", "pickle.find_class"),
    "crashes": ("zipfile.ZipFile(path)", "BadZipFile"),
    "is large": ("bytes(10_000_000)", "bytes"),
    "is slow": ("while time.process_time() < end: pass", "seconds"),
    "writes": ("open(path, 'a').close()", "open"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_the_fuzzing_notices_an_unsafe_reader(name):
    body, message = UNSAFE[name]
    finished = fuzz(f"""
import pickle, time, zipfile
import fuzz_files
from clip_np.files import FileError
def unsafe(path):
    end = time.process_time() + 1.1
    try:
        {body}
    except Exception as error:
        if {name == "crashes"} or isinstance(error, FileError):
            raise
        raise FileError(f"{{path}}: damaged")
right = fuzz_files.read
def read(path):
    return unsafe(path) or right(path) if fuzz_files.ARMED else right(path)
fuzz_files.ARMED = False
fuzz_files.read = read
make = fuzz_files.make
def arm(*arguments):
    fuzz_files.ARMED = True
    return make(*arguments)
fuzz_files.make = arm
fuzz_files.fuzz(300, 0)
""")
    assert finished.returncode == 1
    assert message in finished.stderr.splitlines()[-1]

"""Make the book as pages.

    python -m book                 writes build/book, which begins with index.html
    python -m book --out FOLDER

It needs the extra `book`: pip install -e ".[book]".
"""

import argparse
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from book.order import ROOT
from book.staging import stage
from book.steps import run_steps

NEEDED = ("sphinx", "furo", "myst_parser")


def build(out: Path) -> int:
    """Make the site in the folder `out`, which is replaced. Returns Sphinx's status."""
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / "book"
        stage(staged)
        run_steps(staged / "examples" / "steps")
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q"]
        command += ["-j", "2", "-c", str(ROOT / "book"), "-d", f"{folder}/doctrees"]
        return subprocess.run([*command, str(staged), str(out)]).returncode


def main(arguments: list[str] | None = None) -> int:
    """The program. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m book",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "book")
    out = parser.parse_args(arguments).out
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        parser.error(f"not installed: {', '.join(absent)}; pip install -e '.[book]' brings them")
    status = build(out)
    if status == 0:
        print(f"made: {out / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())

"""The steps run, print what their text says, and fit on a page."""

import os
import subprocess
import sys

import pytest
from paths import EXAMPLES, ROOT
from PIL import Image

STEPS = sorted((EXAMPLES / "steps").glob("step_*.py"))
LINES = 60

# A line that each script must print: the result that its text is about.
PRINTED = {
    "step_01_chain_rule": "measured  dy/dx = 1.9221",
    "step_02_tape": "minigrad  dy/dx = 1.9221",
    "step_03_broadcasting": "d loss / d column, minigrad  [ 6. 22. 38.]",
    "step_04_three_checks": "gradcheck: the complex method agrees to 1e-15: True",
    "step_05_softmax": "    p = 0.665  gradient -0.335  " + "#" * 27,
    "step_06_attention": "mg.attention agrees: True",
    "step_07_patches": "drawn: picture.png",
    "step_08_contrastive_loss": "loss, clip_np  0.524897",
    "step_09_overfit": "after",
    "step_10_attention_maps": "drawn: picture.png",
    "step_11_embedding_space": "200 images and their captions, drawn: picture.png",
    "step_12_planted_mistake": "    gradcheck: right, to 1e-15: True",
}


def run(script, folder):
    """The lines that a script prints, when it runs in an empty folder."""
    arguments = [sys.executable, str(script)]
    if "[PICTURE.png]" in script.read_text(encoding="utf-8"):
        arguments.append("picture.png")
    # One thread: the matrices are small, and other tests may run beside this one.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    finished = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_there_are_a_dozen():
    assert {step.stem for step in STEPS} == PRINTED.keys()
    assert len(STEPS) == 12


@pytest.mark.parametrize("script", STEPS, ids=lambda script: script.stem)
def test_it_prints_what_it_teaches(script, tmp_path):
    assert PRINTED[script.stem] in run(script, tmp_path)
    for picture in tmp_path.glob("*.png"):
        with Image.open(picture) as opened:
            assert min(opened.size) > 100
            assert len(opened.convert("RGB").getcolors(maxcolors=2**20)) > 5


@pytest.mark.parametrize("script", STEPS, ids=lambda script: script.stem)
def test_it_fits_on_a_page(script):
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len(lines) < LINES
    assert lines[0].startswith('"""') and lines[0].endswith("?")


def test_the_planted_mistake_trains_and_is_noticed(tmp_path):
    script = EXAMPLES / "steps" / "step_12_planted_mistake.py"
    lines = run(script, tmp_path)
    wrong = lines[lines.index("with a forgotten term") + 1 :]
    right_losses = [float(word) for word in lines[1].split()[1:]]
    losses = [float(word) for word in wrong[0].split()[1:]]
    assert losses[0] > losses[1] > losses[2]  # it trains,
    assert losses[-1] > 1.2 * min(losses)  # and goes wrong later
    assert right_losses == sorted(right_losses, reverse=True)
    assert "wrong gradient" in wrong[1] and "6 of its 9 elements are off" in wrong[1]


def test_four_pairs_are_learned_by_heart(tmp_path):
    lines = run(EXAMPLES / "steps" / "step_09_overfit.py", tmp_path)
    losses = [float(line.split()[-1]) for line in lines if line.startswith("step")]
    assert losses[0] > 1.0 and losses[-1] < 0.01

"""A stranger's index chooses neither pictures to open nor a model to fetch."""

import contextlib
import functools
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from bounds import run_bounded
from command_line import fail, run
from image_folders import untrained_run, write_first_format, write_photos
from paths import ROOT
from PIL import Image

from clip_np import weights
from clip_np.evaluation import (
    Index,
    build_index,
    fingerprint,
    index_files,
    read_index,
    seals,
    search_index,
    write_index,
)
from clip_np.evaluation.index_parts import Part
from clip_np.evaluation.index_paths import is_below
from clip_np.evaluation.index_table import FileTable, Strings
from clip_np.files import FileError, exclusive, lock_path, read_npz, write_npz

MEMORY, SECONDS = 300, 5  # MB and seconds that a bomb may take


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return untrained_run(tmp_path / "run")


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def secret(tmp_path):
    """A picture that the user never showed to anybody."""
    (tmp_path / "private").mkdir()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "private" / "secret.png")
    return tmp_path / "private" / "secret.png"


@contextlib.contextmanager
def another_user():
    """Within the block, indexes are made and read as on another computer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", os.path.abspath("another"))
        yield


def strangers_index(model, sources, folder="theirs", name="run") -> str:
    """An index of files, as somebody else made it."""
    pathlib.Path(folder).mkdir(exist_ok=True)
    with another_user():
        build_index(f"{folder}/index.npz", sources, *model[:2], name)
    return f"{folder}/index.npz"


def pictures_on(page: str) -> int:
    return pathlib.Path(page).read_text(encoding="utf-8").count("data:image/jpeg")


def test_a_stranger_s_index_shows_no_picture_from_elsewhere(capsys, model, secret):
    shutil.copy(secret, "theirs.png")
    pathlib.Path("theirs").mkdir()
    shutil.copy(secret, "theirs/near.png")
    index = strangers_index(model, [secret, "theirs/near.png"])
    output, _ = run(capsys, "search", index, "red", "--html", "page.html")
    assert "private/secret.png" in output  # the path is shown ...
    assert "not opened: 1 of 2 images, outside of the folder of theirs/index.npz" in output
    assert pictures_on("page.html") == 1  # ... and the picture is not
    page = pathlib.Path("page.html").read_text(encoding="utf-8")
    assert "not opened" in page and secret.as_uri() not in page
    output, _ = run(capsys, "search", index, "red", "--html", "page.html", "--allow-outside")
    assert "not opened" not in output
    assert pictures_on("page.html") == 2


def test_nor_does_the_contact_sheet(capsys, model, secret, monkeypatch):
    from clip_np.cli import output as cli_output

    opened = []
    monkeypatch.setattr(cli_output, "read_picture", opened.append)
    index = strangers_index(model, [secret])
    monkeypatch.setattr(cli_output, "labelled_images", lambda *page: pathlib.Path("sheet.png"))
    run(capsys, "search", index, "red", "--png", "sheet.png")
    assert opened == []
    run(capsys, "search", index, "red", "--png", "sheet.png", "--allow-outside")
    assert opened == [str(secret)]


def test_one_s_own_index_shows_all_it_embedded(capsys, model, secret):
    pathlib.Path("mine").mkdir()
    run(capsys, "embed", "run", secret, "-o", "mine/index.npz")
    output, _ = run(capsys, "search", "mine/index.npz", "red", "--html", "page.html")
    assert "not opened" not in output
    assert pictures_on("page.html") == 1
    assert oct(seals.key_path().stat().st_mode)[-3:] == "600"
    # The same file on another computer is a stranger's.
    with another_user():
        output, _ = run(capsys, "search", "mine/index.npz", "red", "--html", "page.html")
    assert "not opened: 1 of 1 images" in output


@pytest.mark.parametrize("home", ["relative", "a file"])
def test_without_a_place_for_the_key_nothing_is_sealed(model, photos, tmp_path, monkeypatch, home):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", "state" if home == "relative" else str(tmp_path / "file"))
    build_index("index.npz", [photos], *model[:2], "run")
    index = read_index("index.npz")
    assert index.seal == "" and not index.is_own
    assert not (tmp_path / "state").exists()
    assert all(map(index.may_open, index.paths))  # they lie below the folder of the index


def test_a_name_that_is_added_to_one_s_own_index_breaks_the_seal(model, photos, secret):
    pathlib.Path("mine").mkdir()
    build_index("mine/index.npz", [photos], *model[:2], "run")
    assert read_index("mine/index.npz").is_own
    arrays = read_npz("mine/index.npz")
    names = arrays["names"].tobytes().replace(b"more/8.png", b"../../a.pn")
    assert names != arrays["names"].tobytes()
    write_npz("mine/index.npz", arrays | {"names": np.frombuffer(names, np.uint8)})
    assert not read_index("mine/index.npz").is_own


def with_root(index: str, root: str) -> None:
    """Let an index say that its root is elsewhere."""
    arrays = read_npz(index)
    header = json.loads(arrays["header"].tobytes())
    header["root"] = root
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    write_npz(index, arrays | {"header": text})


@pytest.mark.parametrize("folder", ["mine", "."])
def test_another_root_breaks_the_seal(model, photos, secret, folder):
    """Otherwise "0.png" would be any 0.png."""
    pathlib.Path(folder).mkdir(exist_ok=True)
    build_index(f"{folder}/index.npz", [photos], *model[:2], "run")
    assert read_index(f"{folder}/index.npz").is_own
    with_root(f"{folder}/index.npz", str(secret.parent))
    index = read_index(f"{folder}/index.npz")
    assert index.path(0).startswith(str(secret.parent))
    assert not index.is_own
    assert folder == "." or not any(map(index.may_open, index.paths))


def test_a_stranger_s_root_opens_nothing_and_a_named_one_what_lies_below_it(
    capsys, model, photos, secret
):
    index = strangers_index(model, [photos])
    assert read_index(index).root == str(photos)
    assert not any(map(read_index(index).may_open, read_index(index).paths))
    output, _ = run(capsys, "search", index, "red", "--html", "page.html", "--root", photos)
    assert "not opened" not in output and pictures_on("page.html") == 9
    (photos / "0.png").unlink()
    (photos / "0.png").symlink_to(secret)
    output, _ = run(capsys, "search", index, "red", "--html", "page.html", "--root", photos)
    assert "not opened: 1 of 9" in output


@pytest.mark.parametrize("root", ["a\0b", "\ud800", "relative"])
def test_roots_that_no_folder_has(model, photos, root):
    build_index("index.npz", [photos], *model[:2], "run")
    with_root("index.npz", root)
    try:
        assert read_index("index.npz").root == ""
    except FileError as error:
        assert str(error).startswith("index.npz: no index of clip_np")


@pytest.mark.parametrize("way", ["..", "link to a file", "link to a folder"])
def test_ways_out_of_the_folder_of_an_index(model, secret, way):
    pathlib.Path("theirs").mkdir()
    if way == "..":
        path = pathlib.Path("theirs/../private/secret.png")
    elif way == "link to a file":
        path = pathlib.Path("theirs/a.png")
        path.symlink_to(secret)
    else:
        pathlib.Path("theirs/photos").symlink_to(secret.parent)
        path = pathlib.Path("theirs/photos/secret.png")
    index = read_index(strangers_index(model, [path]))
    assert not index.may_open(index.path(0))
    assert is_below(index.path(0), str(secret.parent)) == (way == "..")


def test_a_pipe_under_the_name_of_a_picture_is_not_opened(capsys, model, photos):
    build_index("index.npz", [photos], *model[:2], "run")
    (photos / "3.png").unlink()
    os.mkfifo(photos / "3.png")
    started = time.monotonic()
    run(capsys, "search", "index.npz", "red", "--html", "page.html")
    assert pictures_on("page.html") == 8
    (photos / "index.npz").unlink(missing_ok=True)
    os.mkfifo(photos / "index.npz")
    assert "photos/index.npz: not a regular file" in fail(capsys, "search", "photos/index.npz", "a")
    assert time.monotonic() < started + SECONDS


def test_a_stranger_s_index_does_not_become_one_s_own(capsys, model, photos, secret):
    index = strangers_index(model, [secret])
    before = pathlib.Path(index).read_bytes()
    message = fail(capsys, "embed", "run", photos, "-o", index)
    assert message.startswith(f"{index}: lists 1 files outside of its folder, and is not known")
    assert str(secret) in message and message.endswith("or --allow-outside")
    assert pathlib.Path(index).read_bytes() == before
    run(capsys, "embed", "run", photos, secret.parent, "-o", index)  # named once more
    assert read_index(index).is_own
    index = strangers_index(model, [secret], folder="others")
    run(capsys, "embed", "run", photos, "-o", index, "--allow-outside")
    assert len(read_index(index)) == 10


def test_an_index_of_the_first_format_goes_on_after_its_folders_are_named(
    capsys, model, photos, secret
):
    pathlib.Path("mine").mkdir()
    index = build_index("mine/index.npz", [secret], *model[:2], "run")
    write_first_format("mine/index.npz", index)
    output, _ = run(capsys, "search", "mine/index.npz", "red", "--html", "page.html")
    assert "not opened: 1 of 1 images" in output
    run(capsys, "embed", "run", secret, "-o", "mine/index.npz")
    assert read_index("mine/index.npz").is_own


def test_no_model_is_fetched_that_only_an_index_names(capsys, model, photos, monkeypatch):
    fetched = []
    monkeypatch.setattr(weights.hub, "_library", lambda name: fetched.append(name) or 1 / 0)
    build_index("index.npz", [photos], *model[:2], "stranger/model")
    message = fail(capsys, "search", "index.npz", "red")
    assert message.startswith("stranger/model: no such file or directory; --model PATH says")
    assert "--model OWNER/NAME fetches one from the hub" in message
    assert fetched == []
    with pytest.raises(ZeroDivisionError):
        run(capsys, "search", "index.npz", "red", "--model", "stranger/model")
    assert fetched == ["stranger/model"]


def test_rows_of_another_width_are_refused(model, photos):
    build_index("index.npz", [photos], *model[:2], "run")
    arrays = read_npz("index.npz")
    wide = np.zeros((9, 99), np.float32)
    wide[:, 0] = 1
    write_npz("wide.npz", arrays | {"features": wide})
    with pytest.raises(FileError, match=r"^wide\.npz: damaged: its rows have 99 numbers"):
        search_index(read_index("wide.npz"), "red", *model)
    with pytest.raises(FileError, match=r"^wide\.npz: damaged: its rows have 99 numbers"):
        build_index("wide.npz", [photos], *model[:2])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_rows_that_were_not_looked_at_when_an_index_was_opened(model, photos, monkeypatch, value):
    build_index("index.npz", [photos], *model[:2], "run")
    arrays = read_npz("index.npz")
    arrays["features"][1] *= np.float32(value)
    write_npz("bad.npz", arrays)
    monkeypatch.setattr(index_files, "CHECKED_PLACES", 1)
    monkeypatch.setattr(index_files, "CHECKED_ROWS", 1)
    with pytest.raises(FileError, match=r"^bad\.npz: damaged: its rows are no unit rows"):
        search_index(read_index("bad.npz"), "red", *model)


def with_names(index: str, names: list[bytes]) -> str:
    """A copy of an index whose files have other names."""
    arrays = read_npz(index)
    ends = np.cumsum([len(name) for name in names], dtype=np.int64)
    content = np.frombuffer(b"".join(names), np.uint8)
    write_npz("named.npz", arrays | {"names": content, "name_ends": ends})
    return "named.npz"


def test_names_that_no_file_has(capsys, model, photos):
    build_index("index.npz", [photos], *model[:2], "run")
    names = [
        b"\xff\xfe",
        b"",
        b"photos",
        b"a" * 100_000,
        b"\n",
        b"/",
        b"../" * 1000 + b"etc/passwd",
        b"\xed\xa0\x80",
        b"~",
    ]
    index = with_names("index.npz", names)
    output, _ = run(capsys, "search", index, "red", "--html", "page.html")
    assert pictures_on("page.html") == 0
    assert "not opened: 2 of 9 images" in output
    message = fail(capsys, "embed", "run", photos, "-o", index)
    assert message.startswith("named.npz: lists 2 files outside of its folder")


def hold_lock(path, is_held, is_done):
    with exclusive(lock_path(path), "the index"):
        is_held.set()
        is_done.wait(30)


def test_a_second_program_is_kept_from_an_index(capsys, model, photos):
    build_index("index.npz", [photos / "0.png"], *model[:2], "run")
    before = pathlib.Path("index.npz").read_bytes()
    context = multiprocessing.get_context("fork")
    is_held, is_done = context.Event(), context.Event()
    first = context.Process(target=hold_lock, args=("index.npz", is_held, is_done))
    first.start()
    try:
        assert is_held.wait(30)
        message = fail(capsys, "embed", "run", photos, "-o", "index.npz")
        assert f"the index index.npz is in use by process {first.pid}" in message
        assert pathlib.Path("index.npz").read_bytes() == before
        run(capsys, "search", "index.npz", "red")  # it can still be asked
    finally:
        is_done.set()
        first.join(30)
    run(capsys, "embed", "run", photos, "-o", "index.npz")
    assert len(read_index("index.npz")) == 9
    assert not lock_path("index.npz").exists()


def test_a_large_index_opens_at_once(tmp_path):
    path = tmp_path / "index.npz"
    rows = np.zeros((50_000, 64), np.float32)
    rows[:, 0] = 1
    table = FileTable(
        str(tmp_path),
        Strings.of(f"photos/{row:032}.png" for row in range(len(rows))),
        np.zeros(len(rows), np.int64),
        np.zeros(len(rows), np.int64),
        Strings.of([]),
    )
    write_index(path, Index([Part(table, rows)], "run", "0"))
    outcome = run_bounded(
        "import sys, time; from clip_np.search import read_index\n"
        "started = time.perf_counter()\n"
        "index = read_index(sys.argv[1])\n"
        "print(len(index), time.perf_counter() - started)",
        str(path),
    )
    count, seconds = outcome.output.split()
    assert int(count) == 50_000
    assert float(seconds) < 1
    assert outcome.peak_mb < MEMORY


def test_all_commands_run_without_docstrings_and_assertions(model, photos):
    """Under -OO there are none, and nothing may depend on them."""
    rows = "".join(f"{row}.png,a circle {row}\n" for row in range(6))
    (photos / "captions.csv").write_text(f"file_name,caption\n{rows}", encoding="utf-8")
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from clip_np.cli import main\n"
        "for line in sys.argv[1:]:\n"
        "    status = main(line.split(' '))\n"
        "    if status != line.startswith('plot'):  # which needs matplotlib\n"
        "        sys.exit(f'{line}: {status}')"
    )
    commands = [
        "info run",
        "classify run photos a b",
        "embed run photos -o index.npz",
        "search index.npz red --html page.html",
        "convert run hf",
        "train --data photos --steps 1 --out trained --batch-size 2",
        "evaluate trained",
        "plot trained",
    ]
    run = functools.partial(
        subprocess.run,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=100,
    )
    ended = run([sys.executable, "-OO", "-c", program, *commands])
    assert ended.returncode == 0, ended.stderr
    query = ("-m", "clip_np", "search", "index.npz", "red", "--json")
    ended = run([sys.executable, "-OO", *query])
    assert len(json.loads(ended.stdout)) == 9
    assert fingerprint(*model[:2]) == read_index("index.npz").checksum

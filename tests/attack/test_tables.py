"""Data sets that are made to take memory, to read other files, or to run programs."""

import configparser

import pytest
from paths import ROOT

from clip_np.data import DataError, hub

# --- programs
# ---------------------------------------------------------------------------------


def test_an_old_datasets_library_is_told_to_run_no_program(monkeypatch):
    datasets = pytest.importorskip("datasets")
    arguments = []

    def old(path, name=None, split=None, streaming=False, trust_remote_code=None, **more):
        arguments.append(trust_remote_code)
        raise ValueError("contains custom code")

    monkeypatch.setattr(datasets, "load_dataset", old)
    with pytest.raises(DataError, match=r"a/b is neither a path here nor .* custom code"):
        hub.load_sets("a/b", split=None, streaming=False)
    assert arguments == [False]


def test_a_new_datasets_library_is_not_asked_about_programs(monkeypatch):
    datasets = pytest.importorskip("datasets")
    arguments = []

    def new(path, split=None, streaming=False, **more):
        arguments.append(more)
        return {"train": "a set"}

    monkeypatch.setattr(datasets, "load_dataset", new)
    assert hub.load_sets("a/b", split=None, streaming=False) == {"train": "a set"}
    assert arguments == [{}]


def test_the_required_datasets_library_runs_no_program():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    for extra in ("data", "test"):
        assert "datasets>=4.0" in extras[extra].split()

"""The key that seals indexes is whole, and one for all programs of a user."""

import os

import numpy as np
import pytest

from clip_np.evaluation import seals


@pytest.mark.parametrize("content", [b"", b"short"])
def test_a_key_that_was_half_written_is_replaced(tmp_path, monkeypatch, content):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    seals.key_path().parent.mkdir()
    seals.key_path().write_bytes(content)
    table = [np.arange(3)]
    seal = seals.make_seal(table)
    assert seal and seals.is_sealed(seal, table)
    assert not seals.is_sealed(seal, [np.arange(4)])
    assert seals.make_seal(table) == seal  # the key stays
    assert list(seals.key_path().parent.iterdir()) == [seals.key_path()]
    assert os.name == "nt" or seals.key_path().stat().st_mode & 0o777 == 0o600


def test_programs_that_make_a_key_at_once_get_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    table = [np.arange(3)]
    write = seals._put_in_place

    def slowly(temporary, path):
        monkeypatch.setattr(seals, "_put_in_place", write)
        other.append(seals.make_seal(table))  # another program, just before
        write(temporary, path)

    other: list[str] = []
    monkeypatch.setattr(seals, "_put_in_place", slowly)
    assert seals.make_seal(table) == other[0] != ""

"""Sets of the `datasets` library that name other files, or lead out of their own."""

import os

import numpy as np
import pytest
from small_data import encoded, save

from clip_np.data import DataError, hub, open_dataset


def saved_set(folder, cells: list):
    """A set of the `datasets` library whose image cells are `cells`, on the disk."""
    datasets = pytest.importorskip("datasets")
    image = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": image, "caption": datasets.Value("string")})
    columns = {"image": cells, "caption": [f"picture {row}" for row in range(len(cells))]}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(folder)
    return folder


@pytest.mark.parametrize("name", ["secret.png", "set/../secret.png", "set/link.png"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_saved_set_names_files_in_its_folder_only(tmp_path, monkeypatch, name, streaming):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "VALIDATION_PAIRS", 1)
    secret = save(tmp_path / "secret.png")
    cell = {"bytes": None, "path": str(tmp_path / name)}
    saved_set(tmp_path / "set", [{"bytes": encoded(), "path": None}, cell, cell, cell])
    (tmp_path / "set" / "link.png").symlink_to(secret)

    def open_all(allow_outside: bool) -> None:
        for pairs in open_dataset("set", streaming=streaming, allow_outside=allow_outside).values():
            for row in range(len(pairs)):
                pairs.open_image(row)

    with pytest.raises(DataError, match=r"(lies|leads) outside of .*`allow_outside`"):
        open_all(allow_outside=False)
    open_all(allow_outside=True)


def test_a_saved_set_may_name_files_next_to_it_but_no_pipes(tmp_path):
    cells = [{"bytes": None, "path": "a.png"}, {"bytes": None, "path": "pipe.png"}]
    saved_set(tmp_path / "set", cells)
    save(tmp_path / "set" / "a.png")
    os.mkfifo(tmp_path / "set" / "pipe.png")
    splits = open_dataset(tmp_path / "set", validation_fraction=0)
    outcomes = []
    for pairs in splits.values():
        for row in range(len(pairs)):
            try:
                outcomes.append(pairs.open_image(row).size)
            except DataError as error:
                assert "pipe.png is not a regular file" in str(error)
                outcomes.append("refused")
    assert sorted(outcomes, key=str) == [(6, 4), "refused"]


def test_offsets_of_a_saved_set_that_lead_out_of_the_file(tmp_path):
    folder = saved_set(tmp_path / "set", [{"bytes": encoded(), "path": None}] * 4)
    (arrow,) = folder.glob("*.arrow")
    content = arrow.read_bytes()
    lengths = np.cumsum([0] + [len(f"picture {row}") for row in range(4)]).astype("<i4")
    assert content.count(lengths.tobytes()) == 1
    wrong = lengths.copy()
    wrong[2] = 2**30
    arrow.write_bytes(content.replace(lengths.tobytes(), wrong.tobytes()))
    with pytest.raises(DataError, match=r"set is neither a path here nor a set to load .*ffset"):
        open_dataset(folder)

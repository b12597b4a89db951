"""Image files with text files of the same name."""

import pytest
from small_data import save, write

from clip_np.data import DataError, open_dataset


def test_image_files_beside_text_files(tmp_path):
    suffixes = [".jpg", ".JPEG", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"]
    for row, suffix in enumerate(suffixes):
        save(tmp_path / "deep" / "er" / f"{row}.x{suffix}")
        write(tmp_path / "deep" / "er" / f"{row}.x.txt", f"\ufeffpicture {row}\n")
    save(tmp_path / ".hidden" / "lonely.png")
    save(tmp_path / "deep" / "._0.x.png")
    train = open_dataset(tmp_path, validation_fraction=0)["train"]
    assert train.captions == [f"picture {row}" for row in range(8)]
    assert [train.open_image(row).size for row in range(8)] == [(6, 4)] * 8


def test_images_without_text_are_named(tmp_path):
    for row in range(5):
        save(tmp_path / f"{row}.png")
    write(tmp_path / "0.txt", "zero")
    with pytest.raises(DataError, match=r"4 images have no \.txt .*/1, .*/2, .*/3 and 1 more"):
        open_dataset(tmp_path)


def test_texts_without_image_are_named(tmp_path):
    save(tmp_path / "a.png")
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "b.txt", "b")
    with pytest.raises(DataError, match=r"or \.txt files no image: .*b\. Add what is"):
        open_dataset(tmp_path)


def test_empty_and_undecodable_text_files(tmp_path):
    save(tmp_path / "a.png")
    write(tmp_path / "a.txt", " \n")
    with pytest.raises(DataError, match=r"1 captions are empty: those of .*a\.png"):
        open_dataset(tmp_path)
    write(tmp_path / "a.txt", "Grün", "latin-1")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8 text"):
        open_dataset(tmp_path)

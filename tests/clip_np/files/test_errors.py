"""What is wrong with a file ends as one kind of error, which names the file once."""

import pytest

from clip_np.files import FileError, file_errors


@pytest.mark.parametrize(
    "error, message",
    [
        (KeyError("x"), "inner: no list (KeyError: 'x')"),
        (OSError("Not a gzipped file"), "inner: no list (OSError: Not a gzipped file)"),
        (FileError("it is empty"), "inner: it is empty"),
    ],
)
def test_what_contents_raise_names_the_file_once(error, message):
    inner, outer = file_errors("inner", "no list"), file_errors("outer", "no list of lists")
    with pytest.raises(FileError) as caught, outer, inner:
        raise error
    assert str(caught.value) == message


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), file_errors(tmp_path, "no list"):
        (tmp_path / "nowhere").read_bytes()


def test_long_messages_are_cut():
    with pytest.raises(FileError) as caught, file_errors("a", "no list"):
        raise ValueError("x" * 10_000)
    assert len(str(caught.value)) < 600


def test_the_error_has_the_name_of_the_file():
    with pytest.raises(FileError) as caught, file_errors("a", "no list"):
        raise FileError("it is empty")
    assert caught.value.filename == "a"

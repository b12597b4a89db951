"""The charts on the page of a run."""

import math
import re

import pytest

from clip_np.evaluation.run_pages import COLOURS, Chart, Line, run_page


def chart_of(tmp_path, *lines: Line) -> str:
    path = run_page(tmp_path / "page.html", "a run", "a note", [Chart("Loss", list(lines))])
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_leaves_the_others_in_place(tmp_path, value):
    points = [(1.0, 4.0), (3.0, 2.0)]
    right = chart_of(tmp_path, Line("training", points))
    page = chart_of(tmp_path, Line("training", [points[0], (2.0, value), points[1]]))
    assert page == right
    assert re.search(r'<polyline points="[\d., ]+"', page)
    assert chart_of(tmp_path, Line("training", points), Line("guessing", [(1.0, value)])) == right


def test_more_lines_than_colours_are_an_error_and_not_left_out(tmp_path):
    lines = [Line(str(number), [(1.0, 1.0)]) for number in range(len(COLOURS) + 1)]
    with pytest.raises(ValueError, match="zip"):
        chart_of(tmp_path, *lines)
    assert not (tmp_path / "page.html").exists()

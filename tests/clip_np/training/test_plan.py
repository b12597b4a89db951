"""The plan of a step: every row once, even shares, cuts only if they are worth it."""

from collections.abc import Iterator

import numpy as np
import pytest
from small_models import batch, small_model

from clip_np.training import Unit, make_plan
from clip_np.training.plan import cut_by_length, cut_evenly, share_out
from minigrad.nn import Parameter


def plan_for(model, tokens, shards, workers):
    lengths = {
        "vision": np.full(len(tokens), model.config.vision.n_tokens),
        "text": np.sort(model.text.lengths(tokens)),
    }
    count = sum(parameter.size for parameter in model.parameters())
    return make_plan(model.encoders, lengths, shards, workers, parameter_count=count)


def test_a_plan_covers_every_sample_once():
    model = small_model()
    for count in (1, 2, 7, 64):
        _, tokens = batch(count)
        for workers in (1, 2, 3, 5):
            for shards in {1, min(2, count), min(5, count)}:
                loads = plan_for(model, tokens, shards, workers)
                assert len(loads) == workers
                for encoder in ("vision", "text"):
                    rows = [
                        row
                        for load in loads
                        for unit in load
                        if unit.encoder == encoder
                        for row in range(unit.rows.start, unit.rows.stop)
                    ]
                    assert sorted(rows) == list(range(count)), (count, workers, shards)


def test_a_plan_depends_on_sizes_alone():
    model = small_model()
    _, tokens = batch(16)
    assert plan_for(model, tokens, 3, 2) == plan_for(small_model(), tokens.copy(), 3, 2)


class Line:
    """An encoder of which a token costs one multiplication."""

    def parameters(self) -> list[Parameter]:
        return [Parameter(np.zeros(1))]

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        yield "weight", Parameter(np.zeros(1))

    def cost(self, length: int) -> float:
        return float(length)

    def mixes_samples(self) -> bool:
        return False


def test_the_encoder_says_what_a_row_costs():
    lengths = {"text": np.array([2, 2, 9, 9])}
    ((first, second),) = make_plan({"text": Line()}, lengths, 1, workers=1, parameter_count=0)
    assert first == Unit("text", slice(0, 2), 4.0)
    assert second == Unit("text", slice(2, 4), 18.0)


@pytest.mark.parametrize("shards", [0, 5])
def test_shards_beyond_the_batch_are_refused(shards):
    with pytest.raises(
        ValueError, match=rf"`shards` must lie in 1\.\.4 \(the batch\), got {shards}"
    ):
        make_plan({"text": Line()}, {"text": np.full(4, 7)}, shards, workers=1, parameter_count=0)


def test_rows_are_cut_by_length_where_that_spares_a_fifth():
    def cuts(*lengths):
        return [rows.stop for rows in cut_by_length(np.array(lengths), slice(0, len(lengths)))]

    assert cuts(9) == [1]
    assert cuts(9, 9, 9, 9) == [4]
    assert cuts(8, 8, 9, 9) == [4]
    assert cuts(1, 9) == [1, 2]
    assert cuts(1, 1, 9, 9, 80, 80) == [2, 4, 6]
    assert cut_by_length(np.array([1, 1, 9, 9]), slice(1, 4)) == [slice(1, 2), slice(2, 4)]


def test_a_cut_near_a_seam_moves_onto_it():
    line = [Unit("vision", slice(0, 100), 110.0), Unit("text", slice(0, 100), 90.0)]
    (first,), second = cut_evenly(line, workers=2, price=0.0)  # from 100 to 110: exactly a tenth
    assert (first.rows, len(second)) == (slice(0, 91), 2)
    (first,), (second,) = cut_evenly(line, workers=2, price=10.5)
    assert (first.encoder, second.encoder) == ("vision", "text")
    line = [Unit("vision", slice(0, 100), 109.0), Unit("text", slice(0, 100), 91.0)]
    (first,), (second,) = cut_evenly(line, workers=2, price=0.0)
    assert (first.rows, second.rows) == (slice(0, 100), slice(0, 100))


def test_parts_keep_the_cost_of_the_whole():
    unit = Unit("text", slice(10, 20), 50.0)
    assert unit.size == 10
    assert unit.part(12, 16) == Unit("text", slice(12, 16), 20.0)


def test_the_most_expensive_unit_goes_first():
    units = [
        Unit("text", slice(row, row + 1), cost) for row, cost in enumerate([1.0, 6.0, 4.0, 3.0])
    ]
    loads = share_out(units, workers=2)
    assert [[unit.cost for unit in load] for load in loads] == [[6.0, 1.0], [4.0, 3.0]]

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
    lengths = {"text": np.array([2, 2, 8, 9])}
    plan = make_plan({"text": Line()}, lengths, shards=1, workers=1, parameter_count=0)
    assert plan == [[Unit("text", slice(0, 4), 21.0, (2.0, 2.0, 8.0, 9.0))]]


def test_padded_rows_cost_what_the_longest_of_their_unit_costs():
    lengths = {"text": np.array([2, 2, 8, 9])}
    plan = make_plan({"text": Line()}, lengths, shards=1, workers=1, parameter_count=0, padded=True)
    short = Unit("text", slice(0, 2), 4.0, (2.0, 2.0))
    assert plan == [[short, Unit("text", slice(2, 4), 18.0, (9.0, 9.0))]]


def test_workers_get_rows_of_equal_cost():
    lengths = {"text": np.array([1, 1, 1, 1, 1, 1, 1, 7])}
    plan = make_plan({"text": Line()}, lengths, shards=1, workers=2, parameter_count=0)
    assert [[(unit.rows, unit.cost) for unit in load] for load in plan] == [
        [(slice(0, 7), 7.0)],
        [(slice(7, 8), 7.0)],
    ]


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


def line_of(vision, text):
    return [Unit("vision", slice(0, 100), vision), Unit("text", slice(0, 100), text)]


def encoders_of(loads):
    return [[unit.encoder for unit in load] for load in loads]


def test_a_cut_near_a_seam_moves_onto_it():
    """Each of three parts has a price of 10, a twentieth of 200. A share is 115."""
    apart = [["vision"], ["text"]]
    cut = [["vision"], ["vision", "text"]]
    assert encoders_of(cut_evenly(line_of(117.0, 83.0), workers=2, price=0.0)) == cut
    assert encoders_of(cut_evenly(line_of(116.0, 84.0), workers=2, price=0.0)) == apart
    assert encoders_of(cut_evenly(line_of(125.0, 75.0), workers=2, price=14.0)) == cut
    assert encoders_of(cut_evenly(line_of(125.0, 75.0), workers=2, price=16.0)) == apart


def test_loads_are_equal_with_the_price_of_each_part():
    for workers in (2, 3, 4):
        loads = cut_evenly(line_of(10_000.0, 6_000.0), workers=workers, price=0.0)
        costs = [sum(800.0 + unit.cost for unit in load) for load in loads]
        assert max(costs) - min(costs) <= 2 * 100.0, costs  # rows are not cut


def test_a_large_step_pays_the_calls_of_a_unit_and_not_more():
    loads = cut_evenly(line_of(10e9, 6e9), workers=2, price=0.0)
    (first,), (second, _) = loads
    assert first.cost == second.cost + 6e9 == 8e9


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

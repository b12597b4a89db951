"""Gradients are summed over ranks while others are made, and none is lost."""

import threading

import numpy as np
import pytest
from rank_checks import model_for, own_rows
from small_models import batch, small_model

import minigrad as mg
from clip_np.losses import loss_for
from clip_np.training import loss_and_gradients
from clip_np.training.communicator import RankError, run_thread_ranks
from clip_np.training.overlap import groups_of

PATIENCE = 60.0  # seconds; only a failing test waits for so long


def positions_of(model, *encoders):
    """The positions of the parameters of some encoders, among those of the model."""
    positions = {id(parameter): index for index, parameter in enumerate(model.parameters())}
    return {positions[id(p)] for name in encoders for p in model.encoders[name].parameters()}


def gradients(comm, model, count=6, **options):
    """What a rank has as the gradients of a model after a step's way back."""
    images, tokens = own_rows(comm, *batch(count))
    loss_and_gradients(model, images, tokens, comm=comm, **options)
    return [parameter.grad for parameter in model.parameters()]


def first_on_the_way_back(function, forward):
    """An encoder's `forward` whose way back begins with a call of the function."""

    def held(inputs):
        features = forward(inputs)

        def vjp(g):
            function()
            return (g,)

        return mg.record("held", features.data.copy(), (features,), vjp)

    return held


# --- groups ---------------------------------------------------------------------------


def test_every_parameter_is_in_one_group_and_the_temperature_in_the_last():
    model = small_model()
    vision, text = groups_of(model.encoders, model.parameters())
    assert (vision.encoders, text.encoders) == (["vision"], ["text"])
    assert set(vision.positions) == positions_of(model, "vision")
    assert sorted(vision.positions + text.positions) == list(range(len(model.parameters())))


def test_a_parameter_of_both_encoders_is_in_the_later_group():
    model = small_model()
    model.text.text_projection = model.vision.proj
    vision, text = groups_of(model.encoders, model.parameters())
    assert set(text.positions) >= positions_of(model, "text")
    assert not set(text.positions) & set(vision.positions)


def test_encoders_that_mix_samples_come_first():
    model = model_for("resnet")
    turned = {"text": model.text, "vision": model.vision}
    assert [group.encoders for group in groups_of(turned, model.parameters())] == [
        ["vision"],
        ["text"],
    ]


# --- sums -----------------------------------------------------------------------------


@pytest.mark.parametrize("whole_batch", [True, False])
def test_the_first_encoder_is_summed_while_the_second_is_computed(whole_batch):
    """The way back through the text encoder waits for the sum of the vision encoder."""

    def work(comm):
        model, summed = small_model(), threading.Event()
        add = comm.all_reduce

        def all_reduce(arrays, like, early=False):
            sums = add(arrays, like, early)
            summed.set()
            return sums

        def wait():
            assert summed.wait(PATIENCE), "no sum while gradients are made"

        comm.all_reduce = all_reduce
        model.text.forward = first_on_the_way_back(wait, model.text.forward)
        gradients(comm, model, workers=1)
        return summed.is_set()

    assert run_thread_ranks(work, 2, whole_batch) == [True, True]


@pytest.mark.gradient
@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize("shards, workers", [(1, 1), (1, 2), (3, 1)])
def test_a_parameter_of_both_encoders_is_summed_over_ranks(shards, workers, whole_batch):
    def tied():
        model = small_model()
        model.text.text_projection = model.vision.proj
        return model

    model, (images, tokens) = tied(), batch(6)
    value = loss_for(model, "clip")(model.encode_image(images), model.encode_text(tokens), None)
    expected = mg.grad(value, model.parameters())
    for found in run_thread_ranks(
        lambda comm: gradients(comm, tied(), shards=shards, workers=workers), 2, whole_batch
    ):
        for got, want in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("frozen", ["vision", "text"])
def test_a_frozen_encoder_holds_up_nobody(frozen):
    def work(comm):
        model = small_model()
        model.freeze(frozen)
        return gradients(comm, model, workers=1)

    for found in run_thread_ranks(work, 3):
        without = {position for position, gradient in enumerate(found) if gradient is None}
        assert without == positions_of(small_model(), frozen)


def test_a_rank_that_fails_on_its_way_back_ends_its_sums_too():
    before = threading.active_count()

    def fail():
        raise ArithmeticError("planted")

    def work(comm):
        model = small_model()
        if comm.rank == 1:
            model.vision.forward = first_on_the_way_back(fail, model.vision.forward)
        gradients(comm, model, workers=1)

    with pytest.raises(ArithmeticError, match="planted"):
        run_thread_ranks(work, 2, whole_batch=False)
    for thread in threading.enumerate():
        if thread.name == "sums over ranks":
            thread.join(PATIENCE)
    assert threading.active_count() == before


def test_an_error_in_an_early_sum_is_raised_where_gradients_are_made():
    def work(comm):
        def all_reduce(arrays, like, early=False):
            raise RankError(f"planted, early: {early}")

        comm.all_reduce = all_reduce
        gradients(comm, small_model(), workers=1)

    with pytest.raises(RankError, match="planted, early: True"):
        run_thread_ranks(work, 2)

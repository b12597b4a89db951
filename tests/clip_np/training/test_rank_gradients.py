"""Any number of ranks has the gradient of one process, the temperature's included."""

import numpy as np
import pytest
from rank_checks import (
    assert_equal_gradients,
    expected_gradients,
    gradients_over,
    model_for,
    own_rows,
    run_process_ranks,
    some_positives,
)
from small_models import batch, small_model

from clip_np.training import TrainingStep, loss_and_gradients
from clip_np.training.communicator import run_thread_ranks
from minigrad.optim import AdamW


@pytest.mark.gradient
@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("loss", ["clip", "sigmoid"])
def test_every_number_of_ranks_gives_the_gradient_of_one_process(loss, ranks, whole_batch):
    positives = some_positives(11)
    expected = expected_gradients(loss, 11, positives)
    results = run_thread_ranks(
        lambda comm: gradients_over(comm, loss, 11, positives, workers=1), ranks, whole_batch
    )
    for found in results:
        assert_equal_gradients(found, expected)


@pytest.mark.gradient
@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize("shards, workers", [(1, 2), (3, 1), (2, 2)])
def test_ranks_cut_their_parts_further(shards, workers, whole_batch):
    expected = expected_gradients("clip", 11, None)
    results = run_thread_ranks(
        lambda comm: gradients_over(comm, "clip", 11, None, shards=shards, workers=workers),
        2,
        whole_batch,
    )
    for found in results:
        assert_equal_gradients(found, expected)


@pytest.mark.gradient
@pytest.mark.parametrize("ranks", [1, 2, 3, 4])
@pytest.mark.parametrize("loss", ["clip", "sigmoid"])
def test_ranks_that_share_memory_have_the_gradient_of_one_process(loss, ranks):
    positives = some_positives(11)
    expected = expected_gradients(loss, 11, positives)
    results = run_process_ranks(
        lambda comm: gradients_over(comm, loss, 11, positives, shards=4, workers=1), ranks
    )
    for found in results:
        assert_equal_gradients(found, expected)


@pytest.mark.gradient
def test_more_ranks_than_samples():
    expected = expected_gradients("clip", 2, None)
    for found in run_thread_ranks(lambda comm: gradients_over(comm, "clip", 2, None, workers=1), 5):
        assert_equal_gradients(found, expected)


@pytest.mark.parametrize("whole_batch", [True, False])
def test_all_ranks_take_the_same_steps_again_and_again(whole_batch):
    def run(comm):
        model, arrays = small_model(np.float32), batch(11, np.float32)
        images, tokens = own_rows(comm, *arrays)
        step = TrainingStep(model, AdamW(model.parameters(), lr=1e-2), workers=1, comm=comm)
        for _ in range(3):
            step(images, tokens)
        return b"".join(parameter.data.tobytes() for parameter in model.parameters())

    first = run_thread_ranks(run, 3, whole_batch)
    assert len(set(first)) == 1
    assert run_thread_ranks(run, 3, whole_batch) == first


@pytest.mark.gradient
@pytest.mark.parametrize("whole_batch", [True, False])
@pytest.mark.parametrize("ranks, workers", [(1, 1), (2, 1), (2, 2), (3, 1), (4, 1)])
def test_batch_norms_use_the_samples_of_all_ranks(ranks, workers, whole_batch):
    expected = expected_gradients("resnet", 11, None)
    results = run_thread_ranks(
        lambda comm: gradients_over(comm, "resnet", 11, None, workers=workers), ranks, whole_batch
    )
    for found in results:
        assert_equal_gradients(found, expected, tolerance=1e-11)


@pytest.mark.gradient
@pytest.mark.parametrize("ranks", [2, 3])
def test_batch_norms_over_ranks_that_share_memory(ranks):
    expected = expected_gradients("resnet", 11, None)
    for found in run_process_ranks(
        lambda comm: gradients_over(comm, "resnet", 11, None, workers=1), ranks
    ):
        assert_equal_gradients(found, expected, tolerance=1e-11)


def test_all_ranks_keep_the_statistics_of_the_whole_batch():
    def statistics(comm):
        model, (images, tokens) = model_for("resnet"), batch(11)
        loss_and_gradients(model, images, tokens, workers=1, comm=comm)
        return {name: buffer.data.copy() for name, buffer in model.named_buffers()}

    (alone,) = run_thread_ranks(statistics, 1)
    for found in run_thread_ranks(statistics, 3):
        for name, array in alone.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-12, atol=1e-15)


def test_ranks_without_a_sample_are_refused():
    with pytest.raises(ValueError, match="2 samples for 3 ranks, but each rank needs one"):
        run_thread_ranks(lambda comm: gradients_over(comm, "resnet", 2, None, workers=1), 3)

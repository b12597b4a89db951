"""A step over ranks, compared with the step of one process."""

import copy
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from small_models import SMALL, batch, small_model

import minigrad as mg
from clip_np import CLIP, ResNetConfig
from clip_np.losses import loss_for
from clip_np.training import loss_and_gradients
from clip_np.training.communicator import Block, ProcessRank, RankError, Sizes


def own_rows(comm, *arrays):
    """What a rank is handed: the whole batch, or its rows. Some ranks have one more."""
    if comm.whole_batch:
        return arrays
    bounds = np.linspace(0, len(arrays[0]), comm.size + 1).round().astype(int)
    return tuple(array[bounds[comm.rank] : bounds[comm.rank + 1]] for array in arrays)


def some_positives(count):
    """A few pairs that must not count as wrong answers."""
    positives = np.zeros((count, count), bool)
    positives[0, count - 1] = positives[count - 1, 0] = positives[2, 3] = True
    return positives


def model_for(loss):
    """A small model, with a bias for the sigmoid loss or a ResNet for "resnet"."""
    if loss == "resnet":
        return small_resnet()
    model = small_model()
    if loss == "sigmoid":
        model.logit_bias = mg.nn.Parameter(np.array(-1.5))
    return model


def small_resnet():
    """A model whose batch norms mix samples. Its noise lets all gradients through."""
    vision = ResNetConfig(image_size=8, width=4, layers=(1, 1), heads=2)
    model = CLIP(dataclasses.replace(SMALL, vision=vision), np.random.default_rng(0))
    for number, parameter in enumerate(model.parameters()):
        parameter.data[...] += 0.1 * np.random.default_rng(number).standard_normal(parameter.shape)
    return model.astype(np.float64)


def loss_named(loss, model):
    """The loss of a model; that of "resnet" is CLIP's."""
    return loss_for(model, "clip" if loss == "resnet" else loss)


def expected_gradients(loss, count, positives):
    """The loss and the gradients of one process, without any cut."""
    model, (images, tokens) = model_for(loss), batch(count)
    module = loss_named(loss, model)
    value = module(model.encode_image(images), model.encode_text(tokens), positives)
    return value.item(), mg.grad(value, model.parameters())


def gradients_over(comm, loss, count, positives, **options):
    """The loss and the gradients as one rank has them after a step's way back."""
    model, (images, tokens) = model_for(loss), batch(count)
    images, tokens = own_rows(comm, images, tokens)
    value = loss_and_gradients(
        model,
        images,
        tokens,
        loss=loss_named(loss, model),
        positives=positives,
        comm=comm,
        **options,
    )
    return value.item(), [copy.copy(parameter.grad) for parameter in model.parameters()]


def assert_equal_gradients(found, expected, tolerance=1e-12):
    """Equal losses, and gradients equal to rounding, in float64."""
    assert abs(found[0] - expected[0]) <= tolerance * abs(expected[0])
    for got, want in zip(found[1], expected[1], strict=True):
        assert got.dtype == want.dtype
        assert np.abs(got - want).max() <= tolerance * np.abs(want).max() + 1e-15


def run_process_ranks(function, size, message_bytes=1 << 16):
    """[function(rank 0), ...] for `ProcessRank`s that talk through a block.

    They are in threads, because to start processes takes a second.
    """
    sizes = Sizes(size, gradient_bytes=1 << 17, parameters=100, message_bytes=message_bytes)
    lock = threading.Lock()
    named = Block(sizes.total)
    blocks = [Block(sizes.total, named.name) for _ in range(size)]  # as each process has one
    named.forget_name()

    def run(rank):
        comm = ProcessRank(rank, sizes, blocks[rank], lock, deadline=30.0, look=lambda: None)
        try:
            return function(comm)
        except BaseException as error:
            comm.abort(str(error))
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(run, rank) for rank in range(size)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    errors.sort(key=lambda error: type(error) is RankError)  # the cause comes first
    if errors:
        raise errors[0]
    return [future.result() for future in futures]

"""What does an operation owe a device? A function for each promise.

Each raises AssertionError or what the stand-in raises. They need the stand-in to be
installed (strict_cupy.modules.installed).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from device_runs import a_model, batches, deeper, events_of_a_step
from gradient_checks import outputs_of, random_cotangents
from op_table import Row, Sample
from strict_cupy.device import Device
from strict_cupy.events import Events, watching

import minigrad as mg
from clip_np.training import training_step
from minigrad.backend import move
from minigrad.optim import SGD, AdamW, Optimizer, clip_grad_norm

HERE, ELSEWHERE = "cupy:1", Device(0)
"""Where arrays live, and the device that happens to be the current one."""

STEP_COPIES = 18
"""Copies from the host in one step: of images, ids, orders and constants."""

COPY_BACK = ("take", "embedding")
"""Operations that may copy on the way back: an order of their indices."""


def tensors_of(sample: Sample) -> list[mg.Tensor]:
    arrays = [array.astype(np.float32) for array in sample.inputs]
    return [mg.tensor(array, requires_grad=True, backend=HERE) for array in arrays]


def options_of(sample: Sample) -> dict[str, Any]:
    """The options, with arrays in float32."""
    return {
        name: value.astype(np.float32) if getattr(value, "dtype", None) == np.float64 else value
        for name, value in sample.options.items()
    }


def may_read(row: Row, sample: Sample) -> str:
    """Why an operation reads; "" if it must not."""
    masks = [getattr(part, "dtype", None) for part in parts_of(sample.options.get("index"))]
    if row.name == "getitem" and bool in masks:
        return "what a boolean index picks has a size that the host must know"
    return ""


def parts_of(index: Any) -> tuple:
    return index if isinstance(index, tuple) else (index,)


def check_row(row: Row, sample: Sample) -> None:
    """A row of the table on a device that is not the current one.

    Forward and backward in float32: every result and gradient is float32 and lies where
    the inputs do. No float64 is made on the way, and nothing is read.
    """
    leaves, options = tensors_of(sample), options_of(sample)
    ELSEWHERE.use()
    with watching() as forward:
        outputs = outputs_of(row.function, leaves, options)
    cotangents = [move(g, HERE) for g in random_cotangents(outputs, 0)]
    learns = any(output.requires_grad for output in outputs)
    ELSEWHERE.use()
    with watching() as backward:
        gradients = pull_back(outputs, leaves, cotangents) if learns else []
    if may_read(row, sample):
        return
    require_quiet(forward, backward)
    for array in (*(output.data for output in outputs), *gradients):
        assert array.dtype == np.float32, f"{row.name}: {array.dtype}"
        assert array.device.id == 1, f"{row.name}: made on device {array.device.id}"
    copies = [] if row.name in COPY_BACK else backward.copies
    assert copies == [], f"copies on the way back: {copies}"


def pull_back(
    outputs: Sequence[mg.Tensor], leaves: Sequence[mg.Tensor], cotangents: Sequence
) -> Sequence:
    """The gradients of <cotangents, outputs>."""
    if len(outputs) == 1:
        return mg.grad(outputs[0], leaves, cotangents[0])
    weighted = [mg.sum(each * mg.Tensor(g)) for each, g in zip(outputs, cotangents)]
    return mg.grad(mg.sum(mg.stack(weighted)), leaves)


def require_quiet(*seen: Events) -> None:
    """Nothing was read, and no float64 was made."""
    reads = [read for events in seen for read in events.reads]
    assert reads == [], f"reads: {reads}"
    wide = [array for events in seen for array in events.wide]
    assert wide == [], f"float64: {wide}"


def check_step() -> None:
    """A float32 training step reads nothing and makes no float64."""
    for options in ({}, {"shards": 2, "max_norm": None}):
        require_quiet(events_of_a_step(HERE, **options))


def check_copies() -> None:
    """What is copied from the host in a step: little, and no more for deep models."""
    shallow, deep = (events_of_a_step(config=deeper(n)).copies for n in (1, 3))
    assert len(deep) == len(shallow), f"copies: {deep} with 3 layers, {shallow} with 1"
    assert len(shallow) <= STEP_COPIES, f"copies: {shallow}"


def check_launches() -> None:
    """As many launches for many samples as for few: no loop goes through them."""
    few, many = (events_of_a_step(batch=n).launches for n in (4, 12))
    assert len(many) == len(few), f"launches: {len(few)} for 4 pairs, {len(many)} for 12"


def check_walk() -> None:
    """A walk computes where the gradients live, whatever the current device is.

    Here it starts on two devices at once.
    """
    backends = (HERE, "cupy")
    leaves = [mg.tensor([1.0, 2.0], requires_grad=True, backend=name) for name in backends]
    roots = [((mg.exp(x) * x + x).sum(), None) for x in leaves]
    ELSEWHERE.use()
    arrived: dict[int, Any] = {}
    mg.backward_into(roots, leaves, arrived.__setitem__)
    assert [arrived[position].device.id for position in (0, 1)] == [1, 0]


def check_optimizers() -> None:
    """Optimizers compute where the parameters live, whatever the current device is."""
    for kind in (SGD, AdamW):
        check_optimizer(kind)


def check_optimizer(kind: type[Optimizer]) -> None:
    ELSEWHERE.use()
    parameters = [
        mg.nn.Parameter(move(np.ones((2, 3), np.float32), backend))
        for backend in (HERE, "cupy", HERE)
    ]
    groups = [{"params": [parameters[0], parameters[2]]}, {"params": [parameters[1]]}]
    optimizer = kind(groups, lr=0.1)
    for parameter in parameters:
        parameter.grad = move(np.ones((2, 3), np.float32), parameter.backend)
    ELSEWHERE.use()
    clip_grad_norm(groups[0]["params"], 1.0)
    ELSEWHERE.use()
    optimizer.step()
    ELSEWHERE.use()
    saved = {key: move(array, "numpy") for key, array in optimizer.state_dict().items()}
    ELSEWHERE.use()
    optimizer.load_state_dict(saved)
    for parameter, backend in zip(parameters, (HERE, "cupy", HERE)):
        assert parameter.backend == backend
        assert np.all(move(parameter.data, "numpy") < 1.0)


def check_training_elsewhere() -> None:
    """A whole step of a model whose device is not the current one."""
    model = a_model(HERE, "float32")
    optimizer = AdamW(model.parameters(), lr=1e-3)
    for images, tokens in batches(2, np.float32):
        ELSEWHERE.use()
        result = training_step(model, optimizer, images, tokens)
    assert {parameter.backend for parameter in model.parameters()} == {HERE}
    assert {array.device.id for array in result.values()} == {1}

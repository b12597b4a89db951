"""jvp and hvp beside PyTorch, which differentiates its own walk back.

For each analytic operation of the table the function is <c, tanh(op(x)) + op(x)^2>, so
that a linear operation has a second derivative too. PyTorch gets the Hessian times v by
a second backward pass. Both sides may differ by 1e-12 of the largest element.

    PYTHONPATH=.:tests/helpers python tests/oracle/test_second_derivatives.py

prints the largest difference for each operation and for the loss of a whole CLIP.
"""

import collections

import numpy as np
import pytest
from op_table import TABLE, Row, Sample

import minigrad as mg
from clip_np import CLIP, contrastive_loss
from minigrad.nn import Module

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install torch")
from clip_torch import TorchCLIP  # noqa: E402
from test_clip import CONFIGS, batch, both_models  # noqa: E402
from test_ops import ORACLE  # noqa: E402

TOLERANCE = 1e-12
Arrays = list[np.ndarray]


def difference(found: np.ndarray, wanted: "torch.Tensor", scale: float) -> float:
    """The largest one, relative to the largest element, or to `scale` if larger."""
    expected = wanted.detach().numpy()
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype == np.float64
    largest = np.abs(expected).max(initial=scale)
    return float(np.abs(found - expected).max(initial=0.0) / largest)


def torch_jvp(outputs: list, inputs: list, vectors: list) -> list:
    """J v by differentiating u -> J^T u, which is linear, along v."""
    duals = [torch.zeros_like(output, requires_grad=True) for output in outputs]
    pulled = torch.autograd.grad(outputs, inputs, duals, create_graph=True, allow_unused=True)
    pairs = [(p, v) for p, v in zip(pulled, vectors) if p is not None and p.requires_grad]
    if not pairs:
        return [torch.zeros_like(output) for output in outputs]
    pushed = torch.autograd.grad(
        [p for p, _ in pairs], duals, [v for _, v in pairs], allow_unused=True
    )
    return [torch.zeros_like(o) if p is None else p for o, p in zip(outputs, pushed)]


def torch_hvp(value: "torch.Tensor", inputs: list, vectors: list) -> list:
    """H v by a second backward pass."""
    gradients = torch.autograd.grad(value, inputs, create_graph=True, allow_unused=True)
    slopes = [(g * v).sum() for g, v in zip(gradients, vectors) if g is not None]
    slope = sum(slopes)
    if not slopes or not slope.requires_grad:
        return [torch.zeros_like(x) for x in inputs]
    second = torch.autograd.grad(slope, inputs, allow_unused=True)
    return [torch.zeros_like(x) if s is None else s for x, s in zip(inputs, second)]


def as_tuple(value) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def worst_differences(row: Row, sample: Sample) -> tuple[float, float]:
    """Of J v and of H v, for random vectors."""
    rng = np.random.default_rng(3)
    vectors = [np.asarray(rng.standard_normal(a.shape)) for a in sample.inputs]
    twins = [torch.tensor(a, requires_grad=True) for a in sample.inputs]
    directions = [torch.tensor(v) for v in vectors]
    wanted = list(as_tuple(ORACLE[row.name](*twins, **sample.options)))
    weights = [np.asarray(rng.standard_normal(tuple(w.shape))) for w in wanted]

    def outputs(*inputs: mg.Tensor) -> tuple[mg.Tensor, ...]:
        return as_tuple(row.function(*inputs, **sample.options))

    def joined(*inputs: mg.Tensor) -> mg.Tensor:
        return mg.concatenate([mg.reshape(y, -1) for y in outputs(*inputs)])

    def curved(*inputs: mg.Tensor) -> mg.Tensor:
        parts = [mg.sum((mg.tanh(y) + y * y) * w) for y, w in zip(outputs(*inputs), weights)]
        return mg.sum(mg.stack(parts))

    change = mg.jvp(joined, list(sample.inputs), vectors)
    products = mg.hvp(curved, list(sample.inputs), vectors)
    if not change.size:  # PyTorch's second pass trips over some empty results
        return 0.0, max(float(np.abs(p).max(initial=0.0)) for p in products)
    expected = torch.cat([p.reshape(-1) for p in torch_jvp(wanted, twins, directions)])
    first = difference(change, expected, 1.0)
    value = sum(((torch.tanh(y) + y * y) * torch.tensor(w)).sum() for y, w in zip(wanted, weights))
    expected = torch_hvp(value, twins, directions)
    second = max(difference(p, e, 1.0) for p, e in zip(products, expected))
    return first, second


@pytest.mark.filterwarnings(r"ignore:var\(\):UserWarning")  # of no elements
@pytest.mark.parametrize("row", [row for row in TABLE if row.analytic], ids=lambda row: row.name)
def test_first_and_second_derivatives_agree_with_pytorch(row):
    for sample in row.samples:
        assert max(worst_differences(row, sample)) <= TOLERANCE, sample


# --- a whole model ---


def install(module: Module, path: str, tensor: mg.Tensor) -> None:
    """Put a tensor where the parameter of that path was."""
    *parents, name = path.split(".")
    for parent in parents:
        module = dict(module.children())[parent]
    setattr(module, name, tensor)


def loss_of(model: CLIP, names: list[str], images: np.ndarray, tokens: np.ndarray):
    """The training loss as a function of all parameters."""

    def loss(*parameters: mg.Tensor) -> mg.Tensor:
        for name, parameter in zip(names, parameters, strict=True):
            install(model, name, parameter)
        features = model.vision(images), model.text(tokens)
        return contrastive_loss(*features, model.logit_scale)

    return loss


def worst_of_the_model(name: str) -> tuple[float, float]:
    """The largest differences of J v and H v of CLIP's loss, over all parameters.

    Differences are relative to the largest element of each parameter's array, or to a
    thousandth of the largest of all.
    """
    model, reference = both_models(CONFIGS[name], np.float64)
    images, tokens = batch(CONFIGS[name], 8, np.float64, np.random.default_rng(0))
    names = [path for path, _ in model.named_parameters()]
    arrays = [parameter.data for parameter in model.parameters()]
    rng = np.random.default_rng(1)
    vectors = [np.asarray(rng.standard_normal(a.shape)) for a in arrays]
    twins = dict(reference.named_parameters())
    inputs = [twins[path] for path in names]
    directions = [torch.tensor(v).reshape(t.shape) for v, t in zip(vectors, inputs)]
    wanted, expected = torch_derivatives(reference, images, tokens, inputs, directions)
    loss = loss_of(model, names, images, tokens)
    slope = mg.jvp(loss, arrays, vectors)
    products = mg.hvp(loss, arrays, vectors)
    expected = [e.reshape(a.shape) for e, a in zip(expected, arrays)]
    scale = 1e-3 * max(float(e.abs().max()) for e in expected)
    second = max(difference(p, e, scale) for p, e in zip(products, expected))
    return difference(slope, wanted, 1.0), second


def torch_derivatives(reference: TorchCLIP, images, tokens, inputs: list, directions: list):
    """PyTorch's slope of the loss along the directions, and its Hessian times them."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):  # the only one with a second derivative
        loss = reference.loss(torch.from_numpy(images), torch.from_numpy(tokens))
        gradients = torch.autograd.grad(loss, inputs, create_graph=True)
        slope = sum((g * v).sum() for g, v in zip(gradients, directions))
        return slope, torch.autograd.grad(slope, inputs)


@pytest.mark.parametrize("name", ["quick_gelu", "gelu", "one layer, one patch"])
def test_the_loss_of_a_whole_model(name):
    assert max(worst_of_the_model(name)) <= TOLERANCE


def main() -> None:
    figures = collections.defaultdict(list)
    for row in TABLE:
        if row.analytic:
            figures[row.name] += [worst_differences(row, sample) for sample in row.samples]
    for name in ("quick_gelu", "gelu"):
        figures[f"CLIP, {name}"].append(worst_of_the_model(name))
    print("operation             cases       J v       H v")
    for name, pairs in figures.items():
        first, second = (max(column) for column in zip(*pairs))
        print(f"{name:20} {len(pairs):6} {first:9.1e} {second:9.1e}")


if __name__ == "__main__":
    main()

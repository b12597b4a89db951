"""Modules find, name, load and convert their parameters; layers compute."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

pytestmark = pytest.mark.filterwarnings(
    "error::RuntimeWarning", "error::numpy.exceptions.ComplexWarning"
)


def generator(seed=0):
    return np.random.default_rng(seed)


class Net(nn.Module):
    def __init__(self, seed=0):
        rng = generator(seed)
        self.token = nn.Embedding(5, 4, rng)
        self.blocks = nn.ModuleList([nn.Linear(4, 4, rng), nn.LayerNorm(4)])
        self.head = nn.Sequential(nn.Linear(4, 3, rng, bias=False), nn.Dropout(0.5, rng))
        self.scale = nn.Parameter(np.array(0.5, np.float32))

    def forward(self, ids):
        x = self.token(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x) * self.scale


PATHS = ["scale", "token.weight", "blocks.0.weight", "blocks.0.bias", "blocks.1.weight",
         "blocks.1.bias", "head.0.weight"]  # fmt: skip
IDS = np.array([[0, 1, 1], [4, 2, 0]])


def loss_of(model):
    return mg.cross_entropy(model(IDS), np.array([[0, 1, 2], [2, 1, 0]]))


# --- modules
# -----------------------------------------------------------------------------------


def test_parameters_have_the_paths_to_them_as_names():
    model = Net()
    named = dict(model.named_parameters())
    assert sorted(named) == sorted(PATHS)
    assert named["blocks.1.bias"] is model.blocks[1].bias
    assert named["head.0.weight"].shape == (3, 4)
    assert [id(p) for p in model.parameters()] == [id(p) for p in named.values()]
    assert nn.count_parameters(model) == 5 * 4 + 16 + 4 + 4 + 4 + 12 + 1
    assert all(p.requires_grad and p.dtype == np.float32 for p in model.parameters())


def test_shared_parameter_counts_once_under_its_first_path():
    model = Net()
    model.head[0].weight = model.blocks[0].weight
    assert "head.0.weight" not in dict(model.named_parameters())
    assert len(model.parameters()) == len(PATHS) - 1
    twice = nn.ModuleList([model.blocks[0], model.blocks[0]])
    assert [path for path, _ in twice.named_parameters()] == ["0.weight", "0.bias"]


def test_gradient_of_a_shared_layer_is_the_sum_over_its_uses():
    layer = nn.Linear(3, 3, generator()).astype(np.float64)
    x = generator(1).standard_normal((2, 3))
    first, second = nn.Linear(3, 3, generator()), nn.Linear(3, 3, generator())
    for twin in (first, second):
        twin.astype(np.float64).load_state_dict(layer.state_dict())
    mg.sum(layer(mg.tanh(layer(x)))).backward()
    mg.sum(second(mg.tanh(first(x)))).backward()
    assert np.allclose(layer.weight.grad, first.weight.grad + second.weight.grad, rtol=1e-14)


def test_state_dict_round_trip():
    model, other = Net(0), Net(1)
    views = {path: p.data for path, p in other.named_parameters()}
    state = model.state_dict()
    other.load_state_dict(state)
    for path, parameter in other.named_parameters():
        assert np.array_equal(parameter.data, state[path])
        assert parameter.data is views[path]  # written in place
        assert not np.shares_memory(parameter.data, state[path])
    state["scale"][...] = 9.0
    assert model.scale.item() == 0.5  # state_dict gives copies


def test_loading_converts_to_the_dtype_of_the_model():
    model = Net(0).astype(np.float64)
    model.load_state_dict(Net(1).state_dict())
    assert model.scale.dtype == np.float64


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda s: s.pop("scale"),
            r"missing \['scale'\] \(1 in all\), unexpected \[\] \(0 in all\)",
        ),
        (lambda s: s.update(more=np.zeros(1)), r"missing \[\] .*unexpected \['more'\]"),
        (
            lambda s: s.update({"head.0.weight": np.zeros((4, 3))}),
            r"head\.0\.weight has shape \(4, 3\) and dtype float64, the model needs \(3, 4\)",
        ),
        (
            lambda s: s.update({"head.0.weight": np.full((3, 4), "a")}),
            r"head\.0\.weight has shape \(3, 4\) and dtype <U1, the model needs .*float32",
        ),
    ],
)
def test_load_errors_come_before_anything_is_written(change, text):
    model, state = Net(0), Net(1).state_dict()
    before = model.state_dict()
    change(state)
    with pytest.raises(ValueError, match=text):
        model.load_state_dict(state)
    for path, array in model.state_dict().items():
        assert np.array_equal(array, before[path])


def test_train_and_eval_reach_every_module():
    model = Net()
    assert model.training and model.head[1].training
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    assert np.array_equal(model(IDS).data, model(IDS).data)
    model.train()
    assert all(module.training for module in model.modules())
    assert not np.array_equal(model(IDS).data, model(IDS).data)  # masks are drawn anew


def test_astype_and_to_convert_and_forget_gradients():
    model = Net()
    loss_of(model).backward()
    assert model.scale.grad is not None
    assert model.astype(np.float64) is model
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float64)}
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert model.to("numpy").scale.backend == "numpy"
    loss_of(model).backward()
    assert all(p.grad.dtype == np.float64 for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


LAYERS = {
    "Linear": (lambda rng: nn.Linear(3, 4, rng), (2, 5, 3)),
    "Linear without bias": (lambda rng: nn.Linear(3, 4, rng, bias=False), (2, 3)),
    "Linear with std": (lambda rng: nn.Linear(3, 4, rng, std=0.5), (3,)),
    "LayerNorm": (lambda rng: nn.LayerNorm(3), (2, 3)),
    "Conv2d": (lambda rng: nn.Conv2d(2, 3, 3, rng, stride=2, padding=1), (2, 2, 4, 5)),
    "Conv2d without bias": (lambda rng: nn.Conv2d(2, 3, 1, rng, bias=False), (2, 2, 2, 2)),
    "BatchNorm2d": (lambda rng: nn.BatchNorm2d(3).eval(), (4, 3, 2, 2)),
    "Embedding": (lambda rng: nn.Embedding(6, 2, rng), None),
    "Dropout": (lambda rng: nn.Dropout(0.5, rng).eval(), (2, 3)),
    "Sequential": (lambda rng: nn.Sequential(nn.Linear(3, 4, rng), nn.LayerNorm(4)), (2, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_layers(name):
    make, shape = LAYERS[name]
    layer = make(generator()).astype(np.float64)
    parameters = layer.parameters()
    ids = np.array([[0, 3, 3], [5, 0, 3]])

    def run(*tensors):
        x, *weights = tensors if shape else (ids, *tensors)
        for parameter, weight in zip(parameters, weights):
            parameter.data, parameter._place = weight.data, weight._place
        return layer(x)

    inputs = [generator(2).standard_normal(shape)] if shape else []
    inputs += [generator(3).standard_normal(p.shape) for p in parameters]
    assert mg.gradcheck(run, inputs).method == "complex"


def test_layers_compute_what_they_say():
    rng = generator()
    x = rng.standard_normal((2, 3)).astype(np.float32)
    layer = nn.Linear(3, 4, rng)
    assert np.allclose(layer(x).data, x @ layer.weight.data.T + layer.bias.data, atol=1e-6)
    normed = nn.LayerNorm(3)(x).data
    assert np.allclose(normed.mean(-1), 0, atol=1e-6) and np.allclose(normed.std(-1), 1, atol=1e-3)
    table = nn.Embedding(4, 2, rng)
    assert np.array_equal(table([[3, 0]]).data[0, 0], table.weight.data[3])
    assert nn.Dropout(0.9, rng).eval()(mg.tensor(x)).data is x


def test_initial_numbers():
    layer = nn.Linear(400, 300, generator())
    bound = 1 / math.sqrt(400)
    for data in (layer.weight.data, layer.bias.data):
        assert np.abs(data).max() <= bound and np.abs(data).max() > 0.9 * bound
        assert abs(data.std() * math.sqrt(3) / bound - 1) < 0.1
    layer = nn.Linear(400, 300, generator(), std=0.3)
    assert abs(layer.weight.data.std() / 0.3 - 1) < 0.01 and not layer.bias.data.any()
    assert nn.Linear(2, 3, generator(), bias=False).bias is None
    same = nn.Linear(400, 300, generator())
    assert np.array_equal(same.weight.data, nn.Linear(400, 300, generator()).weight.data)


def test_module_list_and_sequential():
    first, second = nn.LayerNorm(2), nn.LayerNorm(2)
    listed = nn.ModuleList([first, second])
    assert len(listed) == 2 and listed[1] is second and list(listed) == [first, second]
    doubled = nn.Sequential(lambda_module(2.0), lambda_module(3.0))
    assert doubled(mg.tensor(1.0)).item() == 6.0


def lambda_module(factor):
    class Scale(nn.Module):
        def forward(self, x):
            return x * factor

    return Scale()


def test_without_a_generator_weights_are_left_unfilled():
    for layer in (nn.Linear(3, 2, None), nn.Linear(3, 2, None, std=0.1), nn.Embedding(3, 2, None)):
        assert layer.weight.dtype == np.float32 and layer.weight.requires_grad
    assert nn.unfilled((2, 5)).shape == (2, 5)


def test_a_module_list_keeps_its_order_of_parameters():
    """Saved optimizer states are arrays in this order."""
    listed = nn.ModuleList([nn.Linear(2, 2, generator()), nn.LayerNorm(2)])
    assert [path for path, _ in listed.named_parameters()] == [
        "0.weight",
        "0.bias",
        "1.weight",
        "1.bias",
    ]


def test_whole_numbers_are_copied_and_never_become_a_parameter():
    layer = nn.Linear(2, 3, np.random.default_rng(0))
    whole = {"weight": np.ones((3, 2), np.int64), "bias": np.zeros(3, np.int64)}
    before = layer.weight.data
    with pytest.raises(ValueError, match=r"weight has shape \(3, 2\) and dtype int64"):
        layer.load_state_dict(whole, assign=True)
    assert layer.weight.data is before
    layer.load_state_dict(whole)
    assert layer.weight.dtype == np.float32 and (layer.weight.data == 1.0).all()

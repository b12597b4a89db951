"""Optimizers next to references of a few lines; norm clipping, the schedule."""

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad import flat, nn, optim
from minigrad.plain_adamw import adamw_update

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


IDS = np.array([[0, 1, 1], [4, 2, 0]])


def loss_of(model):
    return mg.cross_entropy(model(IDS), np.array([[0, 1, 2], [2, 1, 0]]))


# --- optimizers
# --------------------------------------------------------------------------------

SHAPES = {"weight": (3, 4), "bias": (4,), "scale": (), "table": (2, 3, 2), "empty": (0, 3)}


def make_parameters(dtype=np.float64):
    rng = generator(7)
    return {
        name: nn.Parameter(np.asarray(rng.standard_normal(shape), dtype))
        for name, shape in SHAPES.items()
    }


def random_gradients(rng, skip=()):
    return {
        name: None if name in skip else np.asarray(rng.standard_normal(shape))
        for name, shape in SHAPES.items()
    }


def set_gradients(parameters, gradients):
    for name, gradient in gradients.items():
        parameters[name].grad = gradient


class PlainAdamW:
    """AdamW for one array, as in the paper."""

    def __init__(self, value, decay, lr=0.01, betas=(0.9, 0.99), eps=1e-6):
        self.value, self.m, self.v, self.t = value.copy(), 0.0, 0.0, 0
        self.decay, self.lr, self.betas, self.eps = decay, lr, betas, eps

    def step(self, g):
        b1, b2 = self.betas
        self.t += 1
        self.m = b1 * self.m + (1 - b1) * g
        self.v = b2 * self.v + (1 - b2) * g**2
        m_hat, v_hat = self.m / (1 - b1**self.t), self.v / (1 - b2**self.t)
        self.value = self.value - self.lr * self.decay * self.value
        self.value = self.value - self.lr * m_hat / (np.sqrt(v_hat) + self.eps)


def test_adamw_is_the_twin_that_is_meant_to_be_read():
    parameter = nn.Parameter(generator().standard_normal((3, 4)))
    optimizer = optim.AdamW([parameter], weight_decay=0.3, **SETTINGS)
    value = parameter.data.copy()
    mean, square = np.zeros((3, 4)), np.zeros((3, 4))
    for step in range(1, 11):
        gradient = generator(step).standard_normal((3, 4))
        parameter.grad = gradient.copy()
        optimizer.step()
        value, mean, square = adamw_update(
            value, gradient, mean, square, step, weight_decay=0.3, **SETTINGS
        )
        np.testing.assert_allclose(parameter.data, value, rtol=1e-13, atol=1e-15)


def test_a_block_gathers_the_gradients_that_it_covers():
    rng = generator(11)
    sizes = [3, 1, 0, 4, 2, 7]
    parameters = [nn.Parameter(np.zeros(size)) for size in sizes]
    for parameter in parameters:
        parameter.grad = rng.standard_normal(parameter.shape)
    whole = np.concatenate([parameter.grad for parameter in parameters])
    packed = flat.Flat(parameters)
    for start in range(len(whole)):
        for stop in range(start + 1, len(whole) + 1):
            assert np.array_equal(packed.gradient(slice(start, stop)), whole[start:stop])


def test_an_optimizer_without_an_update_says_so():
    weight = nn.ones(2)
    weight.grad = np.ones(2, np.float32)
    with pytest.raises(NotImplementedError, match="Optimizer defines no update"):
        optim.Optimizer([weight], lr=0.1, weight_decay=0.0).step()


SETTINGS = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-6}


@pytest.mark.parametrize("block", [flat.BLOCK, 5])
def test_adamw_is_the_plain_one_over_twenty_steps(block, monkeypatch):
    monkeypatch.setattr(flat, "BLOCK", block)
    parameters = make_parameters()
    plain = {
        name: PlainAdamW(p.data, 0.3 if p.ndim >= 2 else 0.0) for name, p in parameters.items()
    }
    optimizer = optim.AdamW(list(parameters.values()), weight_decay=0.3, **SETTINGS)
    rng = generator(8)
    for _ in range(20):
        gradients = random_gradients(rng)
        set_gradients(parameters, gradients)
        kept = {name: g.copy() for name, g in gradients.items()}
        optimizer.step()
        for name, reference in plain.items():
            reference.step(kept[name])
            assert np.allclose(parameters[name].data, reference.value, rtol=1e-13, atol=1e-15)
            assert np.array_equal(parameters[name].grad, kept[name])


def test_groups_are_taken_as_they_are():
    parameters = make_parameters()
    groups = [
        {"params": [parameters["weight"]], "weight_decay": 0.0, "lr": 0.1},
        {"params": [parameters["bias"], parameters["scale"]], "weight_decay": 0.5},
    ]
    optimizer = optim.AdamW(groups, weight_decay=0.2, **SETTINGS)
    plain = {
        "weight": PlainAdamW(parameters["weight"].data, 0.0, lr=0.1),
        "bias": PlainAdamW(parameters["bias"].data, 0.5),
        "scale": PlainAdamW(parameters["scale"].data, 0.5),
    }
    rng = generator(9)
    for _ in range(3):
        gradients = random_gradients(rng)
        set_gradients(parameters, gradients)
        optimizer.step()
        for name, reference in plain.items():
            reference.step(gradients[name])
            assert np.allclose(parameters[name].data, reference.value, rtol=1e-13)
    assert optimizer.lr == 0.1
    optimizer.lr = 0.5
    assert [group["lr"] for group in optimizer.groups] == [0.5, 0.5]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_with_momentum_and_decay(momentum):
    parameters = make_parameters()
    optimizer = optim.SGD(list(parameters.values()), lr=0.1, momentum=momentum, weight_decay=0.2)
    values = {name: p.data.copy() for name, p in parameters.items()}
    speeds = dict.fromkeys(values, 0.0)
    rng = generator(10)
    for _ in range(5):
        gradients = random_gradients(rng)
        set_gradients(parameters, gradients)
        optimizer.step()
        for name, g in gradients.items():
            decay = 0.2 if parameters[name].ndim >= 2 else 0.0
            speeds[name] = momentum * speeds[name] + g + decay * values[name]
            values[name] = values[name] - 0.1 * speeds[name]
            assert np.allclose(parameters[name].data, values[name], rtol=1e-13, atol=1e-15)


def test_float32_stays_float32():
    parameters = make_parameters(np.float32)
    optimizer = optim.AdamW(list(parameters.values()), lr=np.float64(0.1), weight_decay=0.1)
    set_gradients(parameters, random_gradients(generator()))
    optimizer.step()
    assert {p.dtype for p in parameters.values()} == {np.dtype(np.float32)}


def test_parameter_without_a_gradient_stays_as_it_is():
    parameters = make_parameters()
    optimizer = optim.AdamW(list(parameters.values()), weight_decay=0.3, **SETTINGS)
    before = parameters["weight"].data.copy()
    plain = PlainAdamW(parameters["table"].data, 0.3)
    for seed in range(2):
        gradients = random_gradients(generator(seed), skip=("weight",))
        set_gradients(parameters, gradients)
        optimizer.step()
        plain.step(gradients["table"])
    assert np.array_equal(parameters["weight"].data, before)
    assert np.allclose(parameters["table"].data, plain.value, rtol=1e-13)
    optimizer.zero_grad()
    optimizer.step()
    assert np.allclose(parameters["table"].data, plain.value, rtol=1e-13)


def test_parameters_are_views_of_one_buffer():
    model = Net()
    before = model.state_dict()
    optimizer = optim.AdamW(model.parameters())
    assert all(p.data.base is flat.data for flat in optimizer.flats for p in flat.parameters)
    assert [len(flat.parameters) for flat in optimizer.flats] == [3, 4]
    for path, array in model.state_dict().items():
        assert np.array_equal(array, before[path])
    model.load_state_dict(Net(1).state_dict())  # in place: the views hold
    assert all(flat.intact() for flat in optimizer.flats)


def change_astype(model):
    model.astype(np.float64)


def change_data(model):
    model.blocks[0].weight.data = model.blocks[0].weight.data * 2.0


@pytest.mark.parametrize("change", [change_astype, change_data])
def test_buffers_are_packed_again_when_parameters_move(change):
    """A step after the change equals that of an optimizer made after it."""
    model, twin = Net().eval(), Net().eval()
    optimizer, other = optim.AdamW(model.parameters(), lr=0.1), None
    for net, opt in ((model, optimizer), (twin, optim.AdamW(twin.parameters(), lr=0.1))):
        loss_of(net).backward()
        opt.step()
        opt.zero_grad()
        change(net)
        other = opt
    saved = other.state_dict()
    other = optim.AdamW(twin.parameters(), lr=0.1)
    other.load_state_dict(saved)
    for net, opt in ((model, optimizer), (twin, other)):
        loss_of(net).backward()
        opt.step()
    assert all(flat.intact() for flat in optimizer.flats)
    for path, array in model.state_dict().items():
        assert array.dtype == twin.state_dict()[path].dtype
        assert np.array_equal(array, twin.state_dict()[path])


def test_saved_state_continues_bit_for_bit():
    def train(model, optimizer, steps):
        for _ in range(steps):
            loss_of(model).backward()
            optimizer.step()
            optimizer.zero_grad()

    model = Net().eval()
    optimizer = optim.AdamW(model.parameters(), lr=0.05)
    train(model, optimizer, 3)
    weights, state = model.state_dict(), optimizer.state_dict()
    train(model, optimizer, 3)
    resumed = Net(5).eval()
    resumed.load_state_dict(weights)
    again = optim.AdamW(resumed.parameters(), lr=0.05)
    again.load_state_dict(state)
    assert again.step_count == 3
    train(resumed, again, 3)
    for path, array in resumed.state_dict().items():
        assert np.array_equal(array, model.state_dict()[path])


def test_state_of_another_model_is_refused_and_changes_nothing():
    optimizer = optim.AdamW(Net().parameters())
    before = optimizer.state_dict()
    for state in ({}, optim.SGD(Net().parameters(), 0.1).state_dict(),
                  optim.AdamW([nn.zeros(2, 2), nn.zeros(3)]).state_dict()):  # fmt: skip
        with pytest.raises(ValueError, match="belongs to another model or optimizer"):
            optimizer.load_state_dict(state)
    for key, array in optimizer.state_dict().items():
        assert np.array_equal(array, before[key])


def test_optimizer_errors():
    weight = nn.ones(2, 2)
    with pytest.raises(ValueError, match="no parameters given"):
        optim.AdamW([])
    with pytest.raises(ValueError, match="a parameter occurs twice"):
        optim.AdamW([weight, weight])
    with pytest.raises(ValueError, match="got float64 on numpy and float32 on numpy; convert"):
        optim.AdamW([weight, nn.Parameter(np.ones((2, 2)))])
    with pytest.raises(ValueError, match=r'a group has "params", "lr", .* not .*b'):
        optim.AdamW([{"params": [weight], "betas": (0.5, 0.5)}])


# --- norm clipping and the schedule
# ------------------------------------------------------------


def test_clip_grad_norm_scales_to_the_common_length():
    parameters = make_parameters()
    gradients = random_gradients(generator(), skip=("bias",))
    kept = {name: g if g is None else g.copy() for name, g in gradients.items()}
    set_gradients(parameters, gradients)
    length = math.sqrt(sum((g**2).sum() for g in kept.values() if g is not None))
    norm = optim.clip_grad_norm(list(parameters.values()), length / 4)
    assert isinstance(norm, np.ndarray) and norm.shape == ()
    assert np.isclose(norm, length, rtol=1e-14)
    for name, g in kept.items():
        if g is not None:
            assert np.allclose(parameters[name].grad, g / 4, rtol=1e-5)
    assert parameters["bias"].grad is None


@pytest.mark.parametrize("limit", [1e9, math.inf])
def test_short_gradients_are_not_changed(limit):
    weight = nn.ones(2, 2)
    weight.grad = np.full((2, 2), 3.0)
    norm = optim.clip_grad_norm([weight], limit)
    assert norm == 6.0 and norm.dtype == np.float32
    assert weight.grad.tolist() == [[3.0, 3.0], [3.0, 3.0]]


def test_clip_grad_norm_needs_a_gradient():
    with pytest.raises(ValueError, match="no parameter has a gradient"):
        optim.clip_grad_norm([nn.ones(2)], 1.0)


def test_warmup_cosine():
    rates = [optim.warmup_cosine(step, 10, 4, 1.0, 0.2) for step in range(12)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    for step in range(4, 10):
        expected = 0.2 + 0.4 * (1 + math.cos(math.pi * (step - 4) / 6))
        assert math.isclose(rates[step], expected)
    assert rates[4] == 1.0 and math.isclose(rates[7], 0.6) and rates[10:] == [0.2, 0.2]
    assert optim.warmup_cosine(0, 10, 0, 3.0) == 3.0
    assert optim.warmup_cosine(10, 10, 0, 3.0) == 0.0
    assert optim.warmup_cosine(4, 5, 5, 1.0) == 1.0  # all warmup

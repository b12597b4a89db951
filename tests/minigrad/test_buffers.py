"""Buffers are kept with the parameters, and batch norm moves its running means once."""

import copy
import pickle

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.optim import AdamW

pytestmark = [pytest.mark.gradient, pytest.mark.filterwarnings("error::RuntimeWarning")]

PATHS = ["norm.running_mean", "norm.running_var", "norm.num_batches_tracked"]


class Net(nn.Module):
    def __init__(self, seed=0):
        self.conv = nn.Conv2d(2, 3, 3, np.random.default_rng(seed), padding=1, bias=False)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x):
        return mg.relu(self.norm(self.conv(x)))


def images(seed=0, samples=4):
    return np.random.default_rng(seed).standard_normal((samples, 2, 5, 5)).astype(np.float32)


def a_trained_net():
    net = Net()
    for seed in range(3):
        net(images(seed))
    return net


def buffers_of(net):
    return {path: buffer.data.copy() for path, buffer in net.named_buffers()}


def assert_same(first, second):
    assert first.keys() == second.keys()
    assert all(np.array_equal(array, second[path]) for path, array in first.items())


# --- what modules do with buffers ---


def test_buffers_have_paths_and_are_no_parameters():
    net = Net()
    assert [path for path, _ in net.named_buffers()] == PATHS
    assert [path for path, _ in net.named_parameters()] == [
        "conv.weight",
        "norm.weight",
        "norm.bias",
    ]
    assert list(net.state_dict()) == ["conv.weight", "norm.weight", "norm.bias", *PATHS]
    assert not any(buffer.requires_grad for _, buffer in net.named_buffers())
    assert nn.count_parameters(net) == 3 * 2 * 9 + 3 + 3


def test_a_shared_buffer_counts_once():
    net = Net()
    twice = nn.ModuleList([net.norm, net.norm])
    assert [path for path, _ in twice.named_buffers()] == [f"0.{path[5:]}" for path in PATHS]


def test_state_round_trip_with_buffers():
    net, other = a_trained_net(), Net(1)
    state = net.state_dict()
    views = {path: buffer.data for path, buffer in other.named_buffers()}
    other.load_state_dict(state)
    assert_same(buffers_of(other), buffers_of(net))
    assert all(buffer.data is views[path] for path, buffer in other.named_buffers())
    other.norm.running_mean.data[...] = 9.0
    assert not np.array_equal(net.norm.running_mean.data, other.norm.running_mean.data)
    assigned = Net(2)
    assigned.load_state_dict(state, assign=True)
    assert all(b.data is state[path] for path, b in assigned.named_buffers())


@pytest.mark.parametrize("path", PATHS)
def test_a_state_without_a_buffer_is_refused_and_nothing_is_written(path):
    net, state = Net(), a_trained_net().state_dict()
    before = net.state_dict()
    del state[path]
    with pytest.raises(ValueError, match=rf"missing \['{path}'\] \(1 in all\)"):
        net.load_state_dict(state)
    assert_same(net.state_dict(), before)


def test_a_buffer_of_another_shape_is_refused():
    net, state = Net(), Net().state_dict()
    state["norm.running_var"] = np.ones(4, np.float32)
    with pytest.raises(ValueError, match=r"norm.running_var has shape \(4,\)"):
        net.load_state_dict(state)


def test_astype_keeps_integers():
    net = a_trained_net().astype(np.float64)
    assert net.norm.running_mean.dtype == net.norm.running_var.dtype == np.float64
    assert net.norm.num_batches_tracked.dtype == np.int64
    assert net.norm.num_batches_tracked.data == 3
    assert net(images().astype(np.float64)).dtype == np.float64


def test_copies_and_pickles_have_buffers_of_their_own():
    net = a_trained_net()
    before = buffers_of(net)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert_same(buffers_of(twin), before)
        twin(images(9))
        assert twin.norm.num_batches_tracked.data == 4
    assert_same(buffers_of(net), before)


def test_an_optimizer_changes_no_buffer():
    net = Net()
    optimizer = AdamW(net.parameters(), lr=0.1)
    loss = net(images()).sum()
    before = buffers_of(net)
    loss.backward()
    optimizer.step()
    assert_same(buffers_of(net), before)


def test_a_module_says_whether_it_mixes_samples():
    net = nn.Sequential(nn.Linear(2, 2, None), nn.Sequential(Net()))
    assert net.mixes_samples()
    assert not net.eval().mixes_samples()
    assert not nn.Sequential(nn.LayerNorm(2)).mixes_samples()


# --- running statistics ---


def test_running_statistics_are_those_of_the_definition():
    net = Net().astype(np.float64)
    mean, variance = np.zeros(3), np.ones(3)
    for seed in range(4):
        x = images(seed).astype(np.float64)
        features = net.conv(x).data
        net(x)
        mean = 0.9 * mean + 0.1 * features.mean((0, 2, 3))
        variance = 0.9 * variance + 0.1 * features.var((0, 2, 3), ddof=1)
    assert np.allclose(net.norm.running_mean.data, mean, rtol=1e-13)
    assert np.allclose(net.norm.running_var.data, variance, rtol=1e-13)
    assert net.norm.num_batches_tracked.data == 4


def test_a_model_in_use_moves_nothing_and_looks_at_each_sample_alone():
    net = a_trained_net().eval()
    before = buffers_of(net)
    together = net(images(7)).data
    alone = np.concatenate([net(images(7)[i : i + 1]).data for i in range(4)])
    assert np.allclose(together, alone, rtol=1e-5, atol=1e-6)
    assert_same(buffers_of(net), before)


def test_a_pass_that_is_not_recorded_moves_nothing():
    net = a_trained_net()
    before = buffers_of(net)
    with mg.no_grad():
        unrecorded = net(images(7)).data
    assert_same(buffers_of(net), before)
    assert np.array_equal(net(images(7)).data, unrecorded)  # the batch's statistics in both
    assert net.norm.num_batches_tracked.data == 4


def test_a_checkpointed_stretch_moves_them_once():
    plain, stretch = Net(), Net()
    x = images(5)
    plain(x).sum().backward()
    result = mg.checkpoint(stretch, x).sum()
    assert stretch.norm.num_batches_tracked.data == 0
    result.backward()
    assert_same(buffers_of(stretch), buffers_of(plain))
    assert stretch.norm.num_batches_tracked.data == 1
    for one, other in zip(plain.parameters(), stretch.parameters()):
        assert np.allclose(one.grad, other.grad, rtol=1e-6, atol=1e-6)


def test_an_empty_batch_moves_nothing():
    net = a_trained_net()
    mean = net.norm.running_mean.data.copy()
    assert net(images(samples=0)).shape == (0, 3, 5, 5)
    assert np.array_equal(net.norm.running_mean.data, mean)


def test_a_later_pass_changes_no_gradient_of_an_earlier_one():
    """The running means may move between a pass and its walk back."""
    x = images(3).astype(np.float64)
    gradients = []
    for moves_between in (False, True):
        norm = nn.BatchNorm2d(2).astype(np.float64)
        norm(images(4).astype(np.float64))
        y = norm.eval()(x)
        if moves_between:
            norm.train()(images(5).astype(np.float64))
        (y * y).sum().backward()
        gradients.append(norm.weight.grad)
    assert np.array_equal(*gradients)


def test_momentum_is_the_share_of_the_batch():
    x = mg.tensor(images().astype(np.float64))
    for momentum in (0.0, 0.25, 1.0):
        mean, variance = mg.tensor(np.full(2, 5.0)), mg.tensor(np.full(2, 5.0))
        mg.batch_norm(x, np.ones(2), np.zeros(2), mean, variance, training=True, momentum=momentum)
        wanted = (1 - momentum) * 5.0 + momentum * x.data.mean((0, 2, 3))
        assert np.allclose(mean.data, wanted, rtol=1e-13)
        wanted = (1 - momentum) * 5.0 + momentum * x.data.var((0, 2, 3), ddof=1)
        assert np.allclose(variance.data, wanted, rtol=1e-13)

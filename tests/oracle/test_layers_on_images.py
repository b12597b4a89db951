"""A small convolutional network beside PyTorch's: ten steps, then in use."""

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn

torch = pytest.importorskip("torch", reason="PyTorch, the oracle of these tests, is not installed")

STEPS = 10
RATE = 0.1


class Ours(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.conv1 = nn.Conv2d(3, 8, 3, rng, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 4, 1, rng)
        self.bn2 = nn.BatchNorm2d(4, momentum=0.3, eps=1e-3)

    def forward(self, x):
        x = mg.max_pool2d(mg.relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        return mg.avg_pool2d(self.bn2(self.conv2(x)), 2)


class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(8)
        self.conv2 = torch.nn.Conv2d(8, 4, 1)
        self.bn2 = torch.nn.BatchNorm2d(4, momentum=0.3, eps=1e-3)

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return torch.nn.functional.avg_pool2d(self.bn2(self.conv2(x)), 2)


def twins(dtype):
    """The two networks with the same numbers."""
    ours, theirs = Ours().astype(dtype), Theirs()
    state = {name: torch.tensor(array) for name, array in ours.state_dict().items()}
    theirs = theirs.to(state["conv1.weight"].dtype)
    theirs.load_state_dict(state)  # names and shapes are PyTorch's
    return ours, theirs


def step(ours, theirs, x, g):
    """One step of gradient descent in both, on the loss <g, result>."""
    theirs.zero_grad()
    (theirs(torch.tensor(x)) * torch.tensor(g)).sum().backward()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter -= RATE * parameter.grad
    ours.zero_grad()
    ours(x).backward(g)
    for parameter in ours.parameters():
        parameter.data -= RATE * parameter.grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 5e-5)])
def test_ten_steps_and_then_use(dtype, tolerance):
    ours, theirs = twins(dtype)
    rng = np.random.default_rng(1)
    for _ in range(STEPS):
        x = rng.standard_normal((6, 3, 16, 16)).astype(dtype)
        step(ours, theirs, x, rng.standard_normal((6, 4, 2, 2)).astype(dtype))
    found, wanted = ours.state_dict(), theirs.state_dict()
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.numpy().dtype
        assert np.allclose(found[name], array.numpy(), rtol=tolerance, atol=tolerance), name
    assert found["bn1.num_batches_tracked"] == STEPS
    in_use = ours.eval()(x).data
    assert np.allclose(
        in_use, theirs.eval()(torch.tensor(x)).detach().numpy(), rtol=tolerance, atol=tolerance
    )

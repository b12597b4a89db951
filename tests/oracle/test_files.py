"""Files of the libraries that own the formats are read here, and ours there."""

import collections
import tracemalloc

import numpy as np
import pytest

from clip_np.files import (
    FileError,
    read_safetensors,
    read_torch,
    read_torch_state,
    write_safetensors,
)
from clip_np.weights.wrappers import unwrap_names

torch = pytest.importorskip("torch", reason="the comparison needs PyTorch: pip install torch")
pytest.importorskip("safetensors", reason="the comparison needs it: pip install safetensors")
import safetensors.numpy  # noqa: E402
import safetensors.torch  # noqa: E402

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
INTEGERS = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]


class Net(torch.nn.Module):
    """Something of everything that the published models have, and tied weights."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 4, 2, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(4)
        blocks = collections.OrderedDict(fc=torch.nn.Linear(4, 4), act=torch.nn.ReLU())
        self.blocks = torch.nn.Sequential(blocks)
        self.ln = torch.nn.LayerNorm(4)
        self.tied = torch.nn.Linear(4, 4, bias=False)
        self.tied.weight = self.blocks.fc.weight
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.5))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.register_buffer("mask", torch.tensor([[True, False]]))

    def forward(self, images):
        x = self.bn1(self.conv1(images)).mean((2, 3))  # (B, 4)
        return self.tied(self.ln(self.blocks(x))) * self.logit_scale.exp()


def numbers(tensor):
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def assert_same(found, tensors):
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        expected = numbers(tensor)
        assert found[name].dtype == expected.dtype, name
        assert found[name].shape == expected.shape
        assert np.array_equal(found[name], expected)
        assert found[name].flags.writeable


def assorted():
    generator = torch.Generator().manual_seed(0)
    random = torch.randn(6, 5, 4, generator=generator)
    tensors = {f"{dtype}": random.to(dtype) for dtype in FLOATS}
    tensors |= {f"{dtype}": (10 * random.abs()).to(dtype) for dtype in INTEGERS}
    return {**tensors, "scalar": torch.tensor(7), "empty": torch.zeros(0, 3), "one": random[:1, :1]}


# --- PyTorch --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", FLOATS)
def test_state_dicts_of_a_module(tmp_path, dtype):
    net = Net().to(dtype)
    torch.save(net.state_dict(), tmp_path / "a.pt")  # an OrderedDict with versions
    assert_same(read_torch_state(tmp_path / "a.pt"), net.state_dict())
    torch.save(dict(net.named_parameters()), tmp_path / "a.pt")
    assert_same(read_torch_state(tmp_path / "a.pt"), dict(net.named_parameters()))


def test_tensors_of_all_kinds(tmp_path):
    tensors = assorted()
    base = torch.arange(24.0).reshape(4, 6)
    tensors |= {
        "base": base,
        "transposed": base.T,
        "part": base[1:3, ::2],
        "diagonal": base.diagonal(),
        "unfolded": base.flatten().unfold(0, 4, 4),
        "expanded": torch.arange(5).expand(1, -1),
        "parameter": torch.nn.Parameter(base[0]),
    }
    torch.save(tensors, tmp_path / "a.pt")
    found = read_torch_state(tmp_path / "a.pt")
    assert_same(found, tensors)
    assert np.shares_memory(found["base"], found["part"])  # as in PyTorch


def test_a_repeated_tensor_is_refused(tmp_path):
    torch.save({"x": torch.ones(3).expand(1000, 3)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match="does not fit its storage of 3"):
        read_torch_state(tmp_path / "a.pt")


def test_checkpoints_of_training(tmp_path):
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    net(torch.zeros(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    schedule.step()
    state = {f"module.{name}": tensor for name, tensor in net.state_dict().items()}
    checkpoint = {
        "epoch": 3,
        "name": "ViT-B-32",
        "state_dict": collections.OrderedDict(state),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "scaler": torch.amp.GradScaler("cpu").state_dict(),
        "rng": torch.get_rng_state(),
        "seed": 2**63 + 5,
        "best": float("inf"),
    }
    torch.save(checkpoint, tmp_path / "a.pt")
    assert_same(unwrap_names(read_torch_state(tmp_path / "a.pt")), net.state_dict())
    found = read_torch(tmp_path / "a.pt")
    assert found["optimizer"]["param_groups"][0]["betas"] == (0.9, 0.98)
    moments = optimizer.state_dict()["state"][0]["exp_avg"]
    assert np.array_equal(found["optimizer"]["state"][0]["exp_avg"], moments.numpy())
    assert all(found[key] == checkpoint[key] for key in ("epoch", "name", "seed", "best"))
    for wrapped in ({"model": net.state_dict()}, {"model_state_dict": net.state_dict()}):
        torch.save({**wrapped, "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
        assert_same(read_torch_state(tmp_path / "a.pt"), net.state_dict())


@pytest.mark.parametrize("how", ["traced", "scripted"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*torch.jit:UserWarning")
def test_torchscript(tmp_path, how, dtype):
    net = Net().eval()
    inputs = torch.zeros(1, 3, 4, 4)
    module = torch.jit.trace(net, inputs) if how == "traced" else torch.jit.script(net)
    module.to(dtype).save(tmp_path / "a.pt")
    found = read_torch_state(tmp_path / "a.pt")
    assert_same({name: found[name] for name in net.state_dict()}, module.state_dict())
    assert set(found) == set(net.state_dict())
    assert found["input_resolution"] == 224


def test_whole_modules_and_old_files_are_refused(tmp_path):
    torch.save(Net(), tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"an object of the class '.*Net', among its weights"):
        read_torch_state(tmp_path / "a.pt")
    torch.save(Net().state_dict(), tmp_path / "a.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(FileError, match=r"the format before PyTorch 1\.6"):
        read_torch(tmp_path / "a.pt")
    torch.save({"x": torch.zeros(3, dtype=torch.complex64)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"torch\.ComplexFloatStorage"):
        read_torch_state(tmp_path / "a.pt")


def test_large_files_are_mapped_and_not_copied(tmp_path):
    torch.save({"x": torch.ones(1000, 1000), "y": torch.ones(7)}, tmp_path / "a.pt")
    tracemalloc.start()
    found = read_torch_state(tmp_path / "a.pt")
    assert tracemalloc.get_traced_memory()[1] < 300_000
    tracemalloc.stop()
    assert found["x"].sum() == 1_000_000


# --- safetensors ----------------------------------------------------------------------


def test_their_files_are_read_here(tmp_path):
    tensors = {name: tensor.clone() for name, tensor in assorted().items()}
    safetensors.torch.save_file(tensors, tmp_path / "a", metadata={"format": "pt"})
    found = read_safetensors(tmp_path / "a")[0]
    assert_same({name: found[name] for name in tensors}, tensors)
    arrays = {dtype: np.arange(6).astype(dtype).reshape(2, 3) for dtype in ("u8", "u4", "u2", "f2")}
    safetensors.numpy.save_file(arrays, tmp_path / "a")
    found = read_safetensors(tmp_path / "a")[0]
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_our_files_are_read_there(tmp_path):
    arrays = {name: numbers(tensor) for name, tensor in assorted().items()}
    arrays |= {dtype: np.arange(6).astype(dtype).reshape(2, 3) for dtype in ("u8", "u4", "u2")}
    arrays |= {"transposed": np.arange(6.0).reshape(2, 3).T, "foreign": np.arange(3, dtype=">f4")}
    write_safetensors(tmp_path / "a", arrays, {"format": "pt", "note": "ü"})
    found = safetensors.numpy.load_file(tmp_path / "a")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype.newbyteorder("<")
        assert np.array_equal(found[name], array), name
    with safetensors.safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata() == {"format": "pt", "note": "ü"}


def test_equal_arrays_give_the_same_bytes_in_both(tmp_path):
    arrays = {"b": np.arange(3.0), "a": np.ones((2, 2), np.float32), "c": np.ones(3, np.uint8)}
    write_safetensors(tmp_path / "ours", arrays)
    safetensors.numpy.save_file(arrays, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_what_they_refuse_is_refused_here(tmp_path):
    """Single changes of a valid file: whatever we read, they read too, and alike."""
    path = tmp_path / "a"
    write_safetensors(path, {"x": np.arange(3, dtype=np.float32), "y": np.arange(4)})
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    read = 0
    for place in range(8 + length):
        for value in b'\x00 019-"{}[],exy\xff':
            path.write_bytes(data[:place] + bytes([value]) + data[place + 1 :])
            try:
                found = read_safetensors(path)[0]
            except FileError:
                continue
            theirs = safetensors.numpy.load_file(path)
            assert found.keys() == theirs.keys()
            assert all(np.array_equal(found[name], theirs[name]) for name in found)
            read += 1
    assert read > 50

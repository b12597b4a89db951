"""A published model is fine-tuned as PyTorch does it, and opens there again."""

import dataclasses

import numpy as np
import pytest
from theirs import hugging_face, torch, transformers

from clip_np import Tokenizer, load
from clip_np.data import Pairs
from clip_np.training import TrainingOptions
from clip_np.training.schedule import learning_rate
from clip_np.training.starting import ADAM_BETAS, ADAM_EPS, make_start, new_optimizer
from clip_np.training.step import TrainingStep
from clip_np.weights import save_pretrained

STEPS = 50
BATCH = 8
SIZE = 32
MOST_DIFFERENCE = 1e-4  # of two losses at the same step
CAPTIONS = [
    f"a {size} {colour} {thing}"
    for size in ("small", "large")
    for colour in ("red", "green", "blue")
    for thing in ("ring", "square", "star", "cross")
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A CLIPModel that transformers wrote, with a vocabulary and its preparation."""
    folder = tmp_path_factory.mktemp("published")
    tokenizer = Tokenizer.train(CAPTIONS, 560)
    tokenizer.context_length = 16
    common = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    text = common | {
        "hidden_size": 48,
        "vocab_size": tokenizer.vocab_size,
        "max_position_embeddings": 16,
        "eos_token_id": tokenizer.end_token_id,
        "bos_token_id": tokenizer.start_token_id,
        "pad_token_id": 0,
    }
    vision = common | {"hidden_size": 64, "image_size": SIZE, "patch_size": 8}
    model = hugging_face(text, vision, projection_dim=32)
    model.save_pretrained(folder)
    tokenizer.save_huggingface(folder)
    transformers().CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size=SIZE, image_mean=[0.5] * 3, image_std=[0.25] * 3
    ).save_pretrained(folder)
    return folder


def batches(tokenizer):
    """A picture for each caption, with noise: there is something to learn."""
    rng = np.random.default_rng(0)
    pictures = rng.standard_normal((len(CAPTIONS), 3, SIZE, SIZE))
    for _ in range(STEPS):
        rows = rng.choice(len(CAPTIONS), BATCH, replace=False)
        noise = 0.3 * rng.standard_normal((BATCH, 3, SIZE, SIZE))
        images = (pictures[rows] + noise).astype(np.float32)
        yield images, tokenizer([CAPTIONS[row] for row in rows])


def pytorch_groups(model, options):
    """Their parameters with the rates and the decay that the options ask for."""
    layers = {"vision_model": 2, "text_model": 2}
    for name, parameter in model.named_parameters():
        encoder = name.split(".")[0]
        is_last = "post_layernorm" in name or "final_layer_norm" in name
        if encoder not in layers or is_last:
            distance = 0
        elif ".layers." in name:
            distance = layers[encoder] - int(name.split(".layers.")[1].split(".")[0])
        else:
            distance = layers[encoder] + 1
        yield {
            "params": [parameter],
            "factor": options.layer_decay**distance,
            "weight_decay": options.weight_decay if parameter.ndim >= 2 else 0.0,
        }


def train_theirs(model, options, tokenizer):
    """Their losses, with the same schedule, clipping, decay and bound."""
    model.train()
    frozen = {"image": ("vision_model", "visual_p"), "text": ("text_model", "text_p"), None: ()}
    for name, parameter in model.named_parameters():
        if name.startswith(frozen[options.freeze]):
            parameter.requires_grad_(False)
    optimizer = torch.optim.AdamW(
        list(pytorch_groups(model, options)), betas=ADAM_BETAS, eps=ADAM_EPS
    )
    losses = []
    for step, (images, tokens) in enumerate(batches(tokenizer)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options, step, 0.0) * group["factor"]
        optimizer.zero_grad()
        outputs = model(
            input_ids=torch.tensor(tokens), pixel_values=torch.tensor(images), return_loss=True
        )
        outputs.loss.backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        torch.nn.utils.clip_grad_norm_(trained, options.max_norm)
        optimizer.step()
        losses.append(outputs.loss.item())
    return losses


def train_ours(start, folder):
    options = start.options
    optimizer = new_optimizer(start.model, options)
    step = TrainingStep(
        start.model.train(), optimizer, shards=options.shards, workers=2, max_norm=options.max_norm
    )
    losses = []
    for number, (images, tokens) in enumerate(batches(start.tokenizer)):
        optimizer.lr = learning_rate(options, number, 0.0)
        losses.append(step(images, tokens)["loss"].item())
    save_pretrained(start.model.eval(), folder, start.tokenizer, start.preprocess)
    return losses


@pytest.mark.parametrize(
    "choices",
    [{}, {"freeze": "image"}, {"freeze": "text", "shards": 4}, {"layer_decay": 0.75, "shards": 3}],
    ids=str,
)
def test_fifty_steps_beside_pytorch(published, tmp_path, choices):
    options = TrainingOptions.of(
        {}, init=str(published), steps=STEPS, learning_rate=1e-3, warmup=5, **choices
    )
    pairs = Pairs.from_arrays(np.zeros((len(CAPTIONS), SIZE, SIZE, 3), np.uint8), CAPTIONS)
    start = make_start(pairs, options, checkpoint=None)
    theirs = transformers().CLIPModel.from_pretrained(published)
    expected = train_theirs(theirs, options, start.tokenizer)
    losses = train_ours(start, tmp_path)
    assert expected[-1] < expected[0] - 0.05  # it does learn
    np.testing.assert_allclose(losses, expected, rtol=0, atol=MOST_DIFFERENCE)

    again = transformers().CLIPModel.from_pretrained(tmp_path).eval()
    before = transformers().CLIPModel.from_pretrained(published)
    shapes = {name: array.shape for name, array in again.state_dict().items()}
    assert shapes == {name: array.shape for name, array in before.state_dict().items()}
    moved = {name for name, array in again.named_parameters()}
    moved -= {name for name, a in again.named_parameters() if a.equal(before.get_parameter(name))}
    if choices.get("freeze") == "image":
        assert not any(name.startswith(("vision_model", "visual_")) for name in moved)
    images, tokens = next(batches(start.tokenizer))
    theirs_again = again(input_ids=torch.tensor(tokens), pixel_values=torch.tensor(images))
    ours_again, _ = load(tmp_path).model(images, tokens)
    np.testing.assert_allclose(
        theirs_again.logits_per_image.detach().numpy(), ours_again.numpy(), atol=1e-4
    )
    preprocess = load(tmp_path).preprocess
    assert preprocess == dataclasses.replace(load(published).preprocess, convert_first=True)
    theirs_of_images = transformers().CLIPImageProcessor.from_pretrained(tmp_path)
    assert list(theirs_of_images.image_mean) == [0.5] * 3

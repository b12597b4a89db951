"""How many launches does a training step need? Counted on the stand-in for CuPy.

    PYTHONPATH=.:tests/helpers python tests/helpers/device_launches.py

The count depends on the layers, the parameters and the lengths of the captions, but not
on how wide a layer is. So the models here are narrow, and the count is quick.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
from strict_cupy.events import Events, watching
from strict_cupy.modules import installed

from benchmarks.configs import SETTINGS, Setting
from clip_np import CLIP
from clip_np.training import TrainingStep
from minigrad.optim import AdamW

CONFIGS = ("tiny", "base32", "ViT-B/32")
HEAD = 2  # numbers in an attention head


def narrow(setting: Setting) -> Setting:
    """The same layers, heads, tokens and captions, with narrow heads."""
    config = setting.config
    vision, text = (
        replace(each, width=HEAD * each.heads, mlp_width=HEAD * each.heads)
        for each in (config.vision, config.text)
    )
    text = replace(text, vocab_size=min(text.vocab_size, 600))
    return replace(setting, config=replace(config, embed_dim=4, vision=vision, text=text))


def events_of(name: str, max_norm: float | None = 1.0) -> Events:
    """What the second training step of a configuration asks of the device."""
    setting = narrow(SETTINGS[name])
    model = CLIP(setting.config, np.random.default_rng(0)).to("cupy")
    step = TrainingStep(model, AdamW(model.parameters(), lr=1e-4), max_norm=max_norm)
    images, tokens = setting.data()
    for _ in range(2):
        with watching() as events:
            step(images, tokens)
    return events


def launches_by_config() -> dict[str, int]:
    """The launches of a step, by configuration."""
    with installed():
        return {name: len(events_of(name).launches) for name in CONFIGS}


def main() -> None:
    for name in CONFIGS:
        with installed():
            events = events_of(name)
        print(f"{name}: {len(events.launches)} launches, {len(events.copies)} copies")
        for kind, count in Counter(events.launches).most_common():
            print(f"    {count:5} {kind}")


if __name__ == "__main__":
    main()

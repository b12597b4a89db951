"""What can be chosen about a training run, and what holds if nobody chooses?

The options of a run come from three places. A later one overrides those before it:

    settings of the task  ->  recipe of the preset  ->  choices of the caller

The task knows what suits its data. A few presets are always trained in the same way,
whatever the data: that is their recipe. An option that nobody sets has the default
below.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clip_np.data import AUGMENTATIONS, Augmentation
from clip_np.encoders import PRESETS, TEXT_KINDS, VISION_KINDS, choose_encoders, has_vision_encoder
from clip_np.losses import LOSSES, require_share
from clip_np.training.checks import LARGEST_NUMBER, require_kind, require_range, shown
from minigrad.precision import PRECISIONS

RECIPES: dict[str, dict[str, Any]] = {
    "tutorial": {
        "steps": 5000,
        "seconds": None,
        "batch_size": 32,
        "learning_rate": 1e-4,
        "weight_decay": 0.1,
        "warmup": 0.1,
        "final_ratio": 0.0,
    }
}
"""The options of presets that are always trained in the same way."""

MUST_BE_POSITIVE = {
    "steps": "a run of no steps learns nothing",
    "seconds": "a run of no time learns nothing",
    "batch_size": "a step needs a batch",
    "learning_rate": "without it no parameter moves",
    "layer_decay": "without it one layer alone would learn",
    "workers": "the work needs somebody to do it",
    "processes": "the work needs somebody to do it",
    "deadline": "ranks need some time to meet",
    "shards": "the batch itself is one piece",
    "log_every": "it counts steps",
    "validate_every": "it counts steps",
    "patience": "it counts validations",
}
"""Options for which 0 has no meaning, and why. All other numbers may be 0."""

AUGMENTATION_GROUP = "varying the training pairs"
"""The heading of these options in the help."""

FINE_TUNING_GROUP = "going on from a model"
"""The heading of these options in the help."""

FREEZABLE = ("image", "text")
"""What `freeze` may name: the encoders, as users call them."""

FROZEN_DTYPES = ("float32", "float16")
"""How the weights of a frozen encoder may be stored."""

NEW_MODEL_RATE = 2e-3
"""The highest learning rate of a model that is new, if nobody chooses one."""

MODEL_BRINGS = {"preset": "its sizes", "vision": "its image encoder"}
"""Options that have no place beside `init`, and what the model has in their place."""

NEW_MODEL_SETTINGS = {*MODEL_BRINGS, "text", "learning_rate", "label_smoothing"}
"""Settings of a task that suit a model that is new, and not one that goes on."""

BACKEND_HELP = "numpy (the default), or cupy or cupy:1 for a GPU"

LARGEST_ZOOM = 10.0
"""exp(10): a pixel as wide as any image."""

LARGEST_CROP = 0.99
"""A box of at least a hundredth of the area."""

MOST_HELPERS = 256
"""Threads or processes. More of them would wait for each other."""

UPPER_BOUNDS = {
    "seed": 2**128,
    "zoom": LARGEST_ZOOM,
    "crop": LARGEST_CROP,
    "colour": 1.0,
    "hue": 0.5,
    "grey": 1.0,
    "blur": 1.0,
    "cut_out": 1.0,
    "flip": 1.0,
    "word_dropout": 1.0,
    "tag_probability": 1.0,
    "workers": MOST_HELPERS,
    "processes": MOST_HELPERS,
    "data_workers": MOST_HELPERS,
    "layer_decay": 1.0,
}
"""The largest values of options that have a bound of their own. Seeds may be long."""


def command_line_field(default: Any, value: str, meaning: str, group: str = "") -> Any:
    """A field of TrainingOptions that is also an option of the command line.

    value stands for the option's value in the help text, and names its type. meaning is
    the help text. Options of one group stand together in it, under its name.
    """
    metadata = {"value": value, "meaning": meaning, "group": group}
    return dataclasses.field(default=default, metadata=metadata)


def augmentation_field(value: str, meaning: str) -> Any:
    """A strength of `Augmentation`; None: as `augment` says."""
    return command_line_field(None, value, meaning, group=AUGMENTATION_GROUP)


def _can_use(vision: str | None, choices: Mapping[str, Any]) -> bool:
    """Whether a run with the caller's choices can have the vision encoder of a task."""
    if vision is None:
        return True
    if vision == "resnet" and choices.get("shards", 1) != 1:  # batch norm mixes samples
        return False
    preset = choices.get("preset")
    return preset not in PRESETS or has_vision_encoder(preset, vision)


def _settings_to_drop(settings: Mapping[str, Any], choices: Mapping[str, Any]) -> set[str]:
    """Which settings of a task do not go with the caller's choices; see `of`."""
    dropped: set[str] = set()
    if choices.get("init") is not None:
        dropped |= NEW_MODEL_SETTINGS
    if choices.get("loss", "clip") != "clip":
        dropped.add("label_smoothing")
    if not _can_use(settings.get("vision"), choices):
        dropped.add("vision")
    return dropped


@dataclass(frozen=True)
class TrainingOptions:
    """What was chosen about a run, or holds because nobody chose.

    A run ends after `steps` steps or after `seconds` seconds. If both are set,
    whichever comes first ends it. Raises ValueError for values that no run can have.

    >>> TrainingOptions(preset="small", steps=100).batch_size
    128
    >>> TrainingOptions(steps=0)
    Traceback (most recent call last):
    ValueError: `steps` must be positive, got 0: a run of no steps learns nothing
    """

    preset: str = command_line_field(
        "tiny", "NAME", "size of the model (shapes tiny, other data small): " + ", ".join(PRESETS)
    )
    vision: str | None = command_line_field(
        None,
        "KIND",
        f"kind of vision encoder: {', '.join(VISION_KINDS)} (for other data than shapes resnet)",
    )
    text: str | None = command_line_field(
        None, "KIND", "another text encoder than the preset's: " + ", ".join(TEXT_KINDS)
    )
    text_weights: str | None = command_line_field(
        None, "DIRECTORY", "begin with a published BERT as text encoder, and its vocabulary"
    )
    init: str | None = command_line_field(
        None, "MODEL", "begin with this model: any that classify opens", group=FINE_TUNING_GROUP
    )
    freeze: str | None = command_line_field(
        None, "ENCODER", "image or text: this encoder keeps its weights", group=FINE_TUNING_GROUP
    )
    layer_decay: float = command_line_field(
        1.0,
        "X",
        "a layer's learning rate is X times that of the next one (1)",
        group=FINE_TUNING_GROUP,
    )
    frozen_dtype: str = command_line_field(
        "float32", "TYPE", "float16: half the memory for frozen weights", group=FINE_TUNING_GROUP
    )
    steps: int | None = command_line_field(
        1200, "N", "steps to take (shapes 1200, preset tutorial 5000)"
    )
    seconds: float | None = command_line_field(
        None, "S", "time limit (for other data than shapes 240)"
    )
    batch_size: int = command_line_field(128, "N", "pairs in a step (shapes 160, other data 64)")
    # None: 2e-3, or with `init` what suits the model (finetuning.py).
    learning_rate: float | None = command_line_field(
        None, "X", "highest learning rate (shapes 0.002, other data 0.001; with --init by its size)"
    )
    final_ratio: float = 0.02  # the last step's learning rate, as a part of the highest
    warmup: float = command_line_field(
        100, "X", "steps of rising rate, below 1 their share; at most a tenth of all (100)"
    )
    weight_decay: float = command_line_field(0.1, "X", "AdamW's weight decay (0.1)")
    loss: str = command_line_field(
        "clip", "NAME", "clip: captions compete (the default); sigmoid: each pair by itself"
    )
    label_smoothing: float = command_line_field(
        0.0, "X", "share of an answer spread over all captions (for other data than shapes 0.1)"
    )
    max_norm: float = 1.0  # gradients are scaled down to this norm
    vocab_size: int = command_line_field(4000, "N", "most tokens to learn (4000)")
    augment: str = command_line_field(
        "none",
        "NAME",
        "none, light or strong (shapes none, other data light)",
        group=AUGMENTATION_GROUP,
    )
    shift: int | None = augmentation_field("PIXELS", "move images by up to this")
    zoom: float | None = augmentation_field("X", "stretch images by up to exp(X), each way")
    crop: float | None = augmentation_field("X", "enlarge a box of 1 - X of the area, or more")
    colour: float | None = augmentation_field(
        "X", "brightness, contrast, saturation: 1 - X to 1 + X"
    )
    hue: float | None = augmentation_field("X", "turn the colours by up to X of a full turn")
    grey: float | None = augmentation_field("P", "probability that an image loses its colours")
    blur: float | None = augmentation_field("X", "blur images, sigma up to X of the side")
    cut_out: float | None = augmentation_field("X", "cover a part, up to X of the side")
    flip: float | None = augmentation_field("P", "probability of exchanging left and right")
    word_dropout: float | None = augmentation_field("P", "probability that a word is left out")
    tag_probability: float = 0.0  # of adding some of a pair's tags to its caption
    patience: int | None = command_line_field(
        None, "N", "end after N validations without a better recall (default: never)"
    )
    seed: int = command_line_field(0, "N", "for all random numbers; same seed, same run (0)")
    backend: str = command_line_field("numpy", "NAME", BACKEND_HELP)
    workers: int | None = command_line_field(
        None, "N", "threads of a process (default: its share of the cores, one on a GPU)"
    )
    processes: int | None = command_line_field(
        None, "N", "processes (default: the cores, for small models and long runs)"
    )
    deadline: float = command_line_field(
        120.0, "S", "end if one process keeps the others waiting this long (120)"
    )
    data_workers: int | None = command_line_field(
        None, "N", "processes that decode images; 0: threads of the program (default: by need)"
    )
    shards: int = command_line_field(1, "N", "cut each batch into N pieces: less memory (1)")
    precision: str = command_line_field(
        "float32", "NAME", "tf32: faster products on a GPU; float16: less memory (float32)"
    )
    log_every: int = 10  # steps from one line of the metrics to the next
    # Steps from one validation to the next. It is looked at only when a line of the
    # metrics is written, so use a multiple of log_every.
    validate_every: int = 100

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            self._check(field.name, field.type)
        if self.preset not in PRESETS:
            raise ValueError(f"`preset` {self.preset!r} is none of {', '.join(PRESETS)}")
        if self.init is None and self.learning_rate is None:
            object.__setattr__(self, "learning_rate", NEW_MODEL_RATE)
        if self.text_weights is not None and self.text not in (None, "bert"):
            raise ValueError(
                f"`text_weights` are a BERT's, but `text` is {self.text!r}: leave one of them out"
            )
        if self.init is None:
            # Weights bring their sizes. The call raises if there is no such encoder.
            text = self.text if self.text_weights is None else None
            choose_encoders(self.preset, vision=self.vision, text=text)
        self._check_fine_tuning()
        if self.loss not in LOSSES:
            raise ValueError(f"`loss` must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        require_share(self.label_smoothing)
        if self.label_smoothing and self.loss != "clip":
            raise ValueError(f"`label_smoothing` is for the loss clip, not for {self.loss}")
        if self.augment not in AUGMENTATIONS:
            names = ", ".join(AUGMENTATIONS)
            raise ValueError(f"`augment` must be one of {names}, got {self.augment!r}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"`precision` must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        if self.precision == "tf32" and self.backend == "numpy":
            raise ValueError("`precision` tf32 is for products on a GPU: set `backend` too")
        if self.steps is None and self.seconds is None:
            raise ValueError("training needs an end: `steps`, `seconds` or both")

    def _check_fine_tuning(self) -> None:
        """ValueError for options of fine-tuning that do not go together."""
        if self.freeze not in (None, *FREEZABLE):
            raise ValueError(f"`freeze` must be image or text, got {self.freeze!r}")
        if self.frozen_dtype not in FROZEN_DTYPES:
            raise ValueError(
                f"`frozen_dtype` must be one of {', '.join(FROZEN_DTYPES)}, "
                f"got {self.frozen_dtype!r}"
            )
        if self.init is None:
            if self.freeze is not None or self.layer_decay != 1.0:
                raise ValueError(
                    "`freeze` and `layer_decay` are for weights that were learned: pass `init`"
                )
        elif self.preset != type(self).preset or self.vision is not None:
            name = "preset" if self.vision is None else "vision"
            raise ValueError(f"`init` brings {MODEL_BRINGS[name]}: leave `{name}` out")
        elif self.text not in (None, *TEXT_KINDS):
            raise ValueError(f"`text` must be one of {', '.join(TEXT_KINDS)}, got {self.text!r}")
        if self.freeze == "text" and (self.text or self.text_weights):
            raise ValueError("`freeze` is text, but a new text encoder has to learn")
        if self.freeze is None and self.frozen_dtype != "float32":
            raise ValueError("`frozen_dtype` is for weights that stay as they are: pass `freeze`")

    @property
    def highest_rate(self) -> float:
        """`learning_rate`, which a run with `init` settles if nobody chose one.

        >>> TrainingOptions().highest_rate
        0.002
        """
        if self.learning_rate is None:
            raise ValueError("`learning_rate` is not settled: see `settled_options`")
        return self.learning_rate

    def _check(self, name: str, expected: Any) -> None:
        """ValueError if an option is of another kind, or out of its bounds."""
        value = getattr(self, name)
        is_number = isinstance(value, int | float)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"`{name}` must be a finite number, got {shown(value)}")
        if is_number and name in MUST_BE_POSITIVE and not value > 0:
            reason = MUST_BE_POSITIVE[name]
            raise ValueError(f"`{name}` must be positive, got {shown(value)}: {reason}")
        if is_number and not value >= 0:
            raise ValueError(f"`{name}` must not be negative, got {shown(value)}")
        require_kind(name, value, expected)
        if is_number:
            require_range(name, value, 0, UPPER_BOUNDS.get(name, LARGEST_NUMBER))

    @property
    def augmentation(self) -> Augmentation:
        """The strengths of `augment`, and those that are set in place of them.

        >>> TrainingOptions(augment="light", hue=0.0).augmentation.shift
        3
        """
        names = [field.name for field in dataclasses.fields(Augmentation)]
        chosen = {name: getattr(self, name) for name in names}
        chosen = {name: value for name, value in chosen.items() if value is not None}
        return dataclasses.replace(AUGMENTATIONS[self.augment], **chosen)

    @classmethod
    def of(cls, settings: Mapping[str, Any], **choices: Any) -> "TrainingOptions":
        """The options of a run, from a task's settings and the caller's choices.

        A preset that is chosen brings its recipe. Choosing one of steps and seconds
        drops the other: both are limits, and the new one is meant to count. Choosing
        `init` drops the settings that are for new models: NEW_MODEL_SETTINGS. Choosing
        another loss drops the label smoothing. The vision encoder of the settings gives
        way to the preset's where it cannot be used: if a chosen preset has none of that
        kind, or if there are several shards, which a ResNet does not allow.

        >>> options = TrainingOptions.of({"seconds": 240.0, "steps": None}, steps=7)
        >>> options.steps, options.seconds
        (7, None)
        >>> TrainingOptions.of({"batch_size": 64}, preset="tutorial").batch_size
        32
        """
        if choices.get("init") is not None:
            for name, brought in MODEL_BRINGS.items():
                if choices.get(name) is not None:
                    raise ValueError(f"`init` brings {brought}: leave `{name}` out")
        recipe = RECIPES.get(choices.get("preset", ""), {})
        unknown = settings.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ValueError(f"no such options of a training: {shown(sorted(unknown))}")
        dropped = _settings_to_drop(settings, choices)
        kept = {name: settings[name] for name in settings.keys() - dropped}
        limits = {}
        if "steps" in choices or "seconds" in choices:
            limits = {"steps": None, "seconds": None}
        return cls(**{**kept, **recipe, **limits, **choices})

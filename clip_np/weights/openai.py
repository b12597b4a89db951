"""How does OpenAI name the arrays of a CLIP?

open_clip uses the same names, with or without "text." in front of those of the text
encoder. Our own names are OpenAI's, but for two things: both encoders have their name
in front here ("vision." and "text."), and a projection is a layer with a weight and a
bias ("in_proj.weight") and not two parameters ("in_proj_weight").

OpenAI's files come without a configuration. What shapes cannot show is as in the paper:
heads are 64 wide, and the activation is quick_gelu (`sizes.py`).

Radford et al. 2021, arXiv:2103.00020; names: https://github.com/openai/CLIP
"""

from typing import ClassVar

from clip_np.weights.layouts import OF_LOSSES, Layout


class OpenAILayout(Layout):
    """The names of OpenAI's and open_clip's files.

    >>> OpenAILayout().name_of("vision.transformer.resblocks.0.attn.in_proj.weight")
    'visual.transformer.resblocks.0.attn.in_proj_weight'
    >>> OpenAILayout().name_of("text.positional_embedding")
    'positional_embedding'
    >>> OpenAILayout().path_of("positional_embedding")
    'text.positional_embedding'
    """

    signature = "visual.conv1.weight"
    replacements = (("vision.", "visual."), ("text.", ""), (".in_proj.", ".in_proj_"))
    kinds: ClassVar = {"vision": ("vit", "resnet"), "text": ("gpt",)}

    def path_of(self, name: str) -> str:
        """What our model calls the array that a file calls `name`."""
        path = super().path_of(name)
        if path.startswith(("vision.", "text.")) or path in OF_LOSSES:
            return path
        return f"text.{path}"

"""How does a model reach another library?

`clip-np convert` writes it in that library's layout: a directory for Hugging Face's
transformers, or a file with the names that OpenAI and open_clip use.
"""

import argparse
from typing import Any

from clip_np.cli.output import print_text
from clip_np.files import shown
from clip_np.weights import convert


def convert_command(arguments: argparse.Namespace) -> dict[str, Any]:
    """Write a model in another layout."""
    convert(
        source=arguments.model,
        target=arguments.target,
        layout=arguments.layout,
        activation=arguments.activation,
    )
    print_text(arguments, f"written: {shown(arguments.target)}")
    return {"written": arguments.target}

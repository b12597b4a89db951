"""Train a CLIP on a CPU and look at what it learned.

    python examples/train_tiny.py                  shapes and captions, two minutes
    python examples/train_tiny.py --data FOLDER    your own images and captions
    python examples/train_tiny.py --text bert      another text encoder
    python examples/train_tiny.py --help           all options

It is the command `clip-np train`. Results go to runs/: a checkpoint that clip_np.load
opens, metrics.jsonl, and pictures of the loss, the similarities, the captions chosen
for test images, and where the model looks.
"""

import sys

from clip_np.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))

"""Ask a trained CLIP which caption fits an image, or which images fit a sentence.

    python examples/predict.py runs/shapes picture.png "a red circle" "a blue star"
    python examples/predict.py runs/shapes FOLDER "a large red circle in the center"
    python examples/predict.py --help

It is the command `clip-np classify`. The answer is a table, and a picture in
classify.png: the image with the probabilities of its captions, or the best images of
the folder on one page.
"""

import sys

from clip_np.cli import main

if __name__ == "__main__":
    sys.exit(main(["classify", *sys.argv[1:]]))

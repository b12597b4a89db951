"""What does one see in a trained model, if one may click on it?

    pairs ── choose_rows ──> a few images, each another one
    images, captions ── explore ──> an Exploration: numbers alone
    Exploration, charts ── explorer_page ──> one HTML file

samples        an image is opened once, for the model and for the eye
projection     vectors of many numbers become points of a plane
nearest        which captions and images lie nearest
attention      who looks at what, by layer and head, in a byte a number
exploration    all numbers of the page
page           the numbers become a file that needs no other

The page itself is written as a web page is: explorer.html is its skeleton, explorer.css
its looks, and scripts/ what happens at a click, a file for each drawing.
"""

from clip_np.evaluation.exploring.attention import pack_shares
from clip_np.evaluation.exploring.exploration import MOST_IMAGES, Exploration, explore
from clip_np.evaluation.exploring.page import explorer_page
from clip_np.evaluation.exploring.projection import principal_plane
from clip_np.evaluation.exploring.samples import choose_rows

__all__ = [
    "MOST_IMAGES",
    "Exploration",
    "choose_rows",
    "explore",
    "explorer_page",
    "pack_shares",
    "principal_plane",
]

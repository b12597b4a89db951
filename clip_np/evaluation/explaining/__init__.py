"""Where in an image does a model see what a text says?

    image, texts ── explain ──> an Explanation for each text: a map for each method
    map ─────────── centre, strongest ──> points
    explanations ── explanation_picture ──> one picture, the methods side by side

attention_maps      from attention in a transformer, with gradients or without
vit_maps            the maps of a vision transformer
resnet_maps         the maps of a ResNet
occlusion           the map of any encoder: what happens when a part is hidden?
methods             the table of methods, and `explain`
places              a map becomes points
pictures            explanations become a picture
"""

from clip_np.evaluation.explaining.methods import METHODS, RECOMMENDED, Explanation, explain
from clip_np.evaluation.explaining.pictures import explanation_picture
from clip_np.evaluation.explaining.places import Point, centre, resized, strongest

__all__ = [
    "METHODS",
    "RECOMMENDED",
    "Explanation",
    "Point",
    "centre",
    "explain",
    "explanation_picture",
    "resized",
    "strongest",
]

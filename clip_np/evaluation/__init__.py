"""evaluation."""

from clip_np.evaluation.metrics import (
    caption_probabilities,
    embed_images,
    embed_texts,
    multiple_choice_accuracy,
    pairs_report,
    retrieval_metrics,
    shapes_report,
    zero_shot_classifier,
)
from clip_np.evaluation.pictures import (
    attention_maps,
    caption_grid,
    labelled_images,
    loss_curve,
    similarity_matrix,
)
from clip_np.evaluation.search import (
    build_index,
    embed_files,
    fingerprint,
    image_files,
    read_index,
    search_index,
)

"""What `explain` does to the model, and which texts it accepts."""

import numpy as np

import clip_np
from clip_np.encoders import choose_encoders

IMAGE = np.random.default_rng(0).standard_normal((3, 32, 32)).astype(np.float32)


def test_a_model_in_training_is_explained_in_eval_mode(tokenizer):
    """Batch norms must use their running means for one image, and not move them."""
    config = choose_encoders("tiny", vision="resnet").for_tokenizer(tokenizer)
    model = clip_np.CLIP(config, np.random.default_rng(0))
    before = model.state_dict()
    (while_training,) = clip_np.explain(model, tokenizer, IMAGE, ["a ring"])
    assert model.training and model.vision.bn1.training
    after = model.state_dict()
    for name, array in before.items():
        np.testing.assert_array_equal(after[name], array, err_msg=name)
    (in_use,) = clip_np.explain(model.eval(), tokenizer, IMAGE, ["a ring"])
    assert while_training.cosine == in_use.cosine
    for name, values in in_use.maps.items():
        np.testing.assert_array_equal(while_training.maps[name], values)


def test_one_text_is_a_list_of_one(clip, tokenizer):
    (explanation,) = clip_np.explain(clip, tokenizer, IMAGE, "a ring")
    assert explanation.text == "a ring"

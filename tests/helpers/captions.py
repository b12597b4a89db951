"""A few captions to train a small tokenizer on."""

CAPTIONS = [
    "a small red circle at the top left",
    "a large blue star in the center",
    "a small red square above a large red circle",
    "don't panic: it's a café",
]

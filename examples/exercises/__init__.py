"""Twenty exercises with an answer key that is a program: see `__main__.py`."""

"""A stand-in for CuPy that needs no GPU and forgives less than CuPy does."""

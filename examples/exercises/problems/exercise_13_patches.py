"""A vision transformer reads an image as a row of patches.

images has the shape (B, 3, H, W). Cut each into squares of P x P pixels, from left to
right and then from top to bottom, and write each as a row: first its P x P red numbers,
then the green, then the blue ones:

    (B, 3, H, W) -> (B, N, 3 P^2)      N = (H / P) (W / P)

It can be done without any loop: reshape, transpose, reshape. In which order do the six
axes (B, 3, H / P, P, W / P, P) have to stand before the second reshape?
"""


def patches(images, size):
    """Cut images (B, 3, H, W) into rows (B, N, 3 size^2)."""
    ...  # your lines

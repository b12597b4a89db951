"""A solution of exercise 13."""


def patches(images, size):
    """Cut images (B, 3, H, W) into rows (B, N, 3 size^2)."""
    batch, colours, height, width = images.shape
    rows, columns = height // size, width // size
    parts = images.reshape(batch, colours, rows, size, columns, size)
    parts = parts.transpose(0, 2, 4, 1, 3, 5)  # (B, row, column, colour, y, x)
    return parts.reshape(batch, rows * columns, colours * size * size)

"""C = A B is a product of matrices: (n, m) times (m, k) is (n, k).

g is the gradient for C, of shape (n, k). Find the gradients for A and for B. Both are
products of two matrices, too. There are two ways to find them:

- Write one element, C[i, j] = sum_l A[i, l] B[l, j], and ask where A[i, l] appears.
- Let the shapes tell. The gradient for A is (n, m); there is only one product of g and
  B that has this shape.
"""


def matmul_vjp(a, b, g):
    """Return (gradient for a, gradient for b)."""
    ...  # your lines

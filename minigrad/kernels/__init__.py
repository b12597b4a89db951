"""Which chains of steps does a GPU run as one launch?

Those of an operation that goes over its numbers again and again. On a CPU such an
operation works block by block, so that the numbers stay in the cache (minigrad/memory).
On a GPU it is a kernel. Each file here has the kernels of one operation, as CUDA C++,
with the functions that launch them. The derivations, and the form for the CPU, are in
minigrad/ops, where `choose` picks a form by the array:

    forward = choose(x, portable=_in_blocks, on_gpu=layer_norm_rows.forward)
    y, h, inverse_std = forward(x, weight, bias, eps)

To add a kernel: write its text by the rules of minigrad/kernels/launching.py, list it
in `KERNELS` of its file, and the file in minigrad/kernels/catalogue.py.

**Without a GPU.** CuPy is imported only by a program that asks for the backend "cupy".
The tests compile every kernel of the catalogue for two generations of GPUs, and run the
same text on the CPU, where a few lines of C++ stand for the GPU. The stand-in for CuPy
(tests/helpers/strict_cupy) checks what a kernel is handed: type, device, gaps. Then it
runs the kernel's *model*, a few lines of NumPy with the same parameters
(tests/helpers/kernel_models.py). So the text agrees with the model, and the operation
on the model agrees with its plain form (minigrad/plain.py).
"""

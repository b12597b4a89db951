"""Does CUDA's compiler accept a kernel? It needs no GPU.

    pip install nvidia-cuda-nvrtc-cu12

brings the library NVRTC, which CuPy calls too. Here ctypes calls it.
"""

import ctypes
import functools
import importlib.util
import pathlib

PACKAGE = "nvidia-cuda-nvrtc-cu12"


def library_path() -> pathlib.Path | None:
    """Where the package has put the library."""
    try:
        found = importlib.util.find_spec("nvidia.cuda_nvrtc")
    except ModuleNotFoundError:
        return None
    folders = [] if found is None else found.submodule_search_locations or []
    paths = [path for folder in folders for path in pathlib.Path(folder).glob("lib/libnvrtc.so.*")]
    return paths[0] if paths else None


def why_not() -> str:
    """Why kernels cannot be compiled here, or "" if they can."""
    return "" if library_path() else f"NVRTC is not installed: pip install {PACKAGE}"


@functools.cache
def nvrtc() -> ctypes.CDLL:
    return ctypes.CDLL(str(library_path()))


class CompilationError(RuntimeError):
    """NVRTC refuses a text. The message is its log."""


def machine_code(code: str, architecture: str) -> bytes:
    """The kernels in `code`, compiled for a GPU such as "sm_90"."""
    program = ctypes.c_void_p()
    check(nvrtc().nvrtcCreateProgram(
        ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None
    ))  # fmt: skip
    try:
        options = [f"--gpu-architecture={architecture}".encode(), b"--std=c++17"]
        given = (ctypes.c_char_p * len(options))(*options)
        if nvrtc().nvrtcCompileProgram(program, len(options), given):
            raise CompilationError(text_of(program, "ProgramLog").decode(errors="replace"))
        return text_of(program, "CUBIN")
    finally:
        nvrtc().nvrtcDestroyProgram(ctypes.byref(program))


def text_of(program: ctypes.c_void_p, what: str) -> bytes:
    """What NVRTC has to hand over: its log, or the machine code."""
    size = ctypes.c_size_t()
    check(getattr(nvrtc(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    check(getattr(nvrtc(), f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def check(status: int) -> None:
    if status:
        raise RuntimeError(f"NVRTC answers with error {status}")

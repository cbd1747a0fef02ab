"""Finds NVIDIA's run-time compiler (NVRTC) and the driver, and calls them through ctypes.

Why ctypes and neither Triton nor cuda-bindings: torch's CUDA wheels bring NVRTC on Linux (as the package
``nvidia-cuda-nvrtc``) and on Windows (as a DLL in ``torch/lib``), and the driver is there wherever a GPU is.
cuda-bindings is a dependency of torch on Linux only; Triton is not in torch's Windows wheels and wants a C
compiler at run time for its launcher. A launch through ctypes costs a few microseconds, as theirs does.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

NVRTC_SUCCESS = 0
CUDA_SUCCESS = 0


class KernelUnavailable(RuntimeError):
    """Kernels cannot be compiled or loaded here; callers fall back to torch's or bitsandbytes' own path."""


class KernelError(RuntimeError):
    """The compiler or the driver refused a kernel: its log is in the message."""


def _package_folders(name: str) -> list[Path]:
    try:
        spec = find_spec(name)
    except (ImportError, ValueError):
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec else []


def _nvrtc_candidates() -> Iterator[str]:
    override = os.environ.get("MODEL_LOUPE_NVRTC")
    if override:
        yield override
    windows = sys.platform == "win32"
    pattern = "nvrtc64_*.dll" if windows else "libnvrtc.so.*"
    folders = [
        folder for nvidia in _package_folders("nvidia") for folder in sorted(nvidia.glob("*"), reverse=True)
    ]
    if bundle := getattr(sys, "_MEIPASS", None):  # the packages' libraries without the packages
        folders += sorted(Path(bundle, "nvidia").glob("*"), reverse=True)
    places = [folder / sub for folder in folders for sub in ("lib", "bin", "bin/x86_64")]
    places += [folder / "lib" for folder in _package_folders("torch")]
    for variable in ("CUDA_PATH", "CUDA_HOME"):
        if root := os.environ.get(variable):
            places += [Path(root) / sub for sub in ("lib64", "bin", "bin/x64")]
    places.append(Path("/usr/local/cuda/lib64"))
    for place in places:
        yield from (str(path) for path in sorted(place.glob(pattern)) if ".alt" not in path.name)
    if not windows:
        yield from ("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so")


@functools.cache
def nvrtc() -> ctypes.CDLL:
    """NVRTC, loaded once.

    Raises:
        KernelUnavailable: When no NVRTC can be loaded.
    """
    for candidate in _nvrtc_candidates():
        try:
            # NVRTC opens its built-ins by name alone: have them loaded already.
            for builtins in sorted(Path(candidate).parent.glob("*nvrtc-builtins*")):
                if ".alt" not in builtins.name:
                    ctypes.CDLL(str(builtins))
            library = ctypes.CDLL(candidate)
        except OSError:
            continue
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        return library
    raise KernelUnavailable("NVIDIA's run-time compiler (NVRTC) was not found.")


@functools.cache
def driver() -> ctypes.CDLL:
    """The CUDA driver, loaded once.

    Raises:
        KernelUnavailable: When there is no driver.
    """
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise KernelUnavailable("There is no CUDA driver.") from error
    if not hasattr(library, "cuLaunchKernelEx"):
        raise KernelUnavailable("The CUDA driver is older than 11.8.")
    return library


def check_driver(status: int, doing: str) -> None:
    """Raises :class:`KernelError` with the driver's words unless ``status`` is success."""
    if status != CUDA_SUCCESS:
        text = ctypes.c_char_p()
        driver().cuGetErrorString(status, ctypes.byref(text))
        raise KernelError(f"{doing}: {(text.value or b'unknown error').decode()} ({status})")


def nvrtc_version() -> tuple[int, int]:
    """Major and minor version of NVRTC."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def supported_architectures() -> list[int]:
    """What NVRTC can compile for, as 10 * major + minor, rising."""
    library = nvrtc()
    count = ctypes.c_int()
    library.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    values = (ctypes.c_int * count.value)()
    library.nvrtcGetSupportedArchs(values)
    return sorted(values)


def compile_source(source: str, options: tuple[str, ...], *, as_cubin: bool) -> bytes:
    """CUDA C++ to a cubin (machine code) or to PTX (which the driver compiles on loading).

    Args:
        source: One translation unit without ``#include``: the wheels for Windows bring no headers.
        options: NVRTC's options, the architecture among them.
        as_cubin: Ask for machine code; the architecture must then be ``sm_..``.

    Raises:
        KernelError: When the source does not compile; the message ends with the compiler's log.
    """
    library = nvrtc()
    program = ctypes.c_void_p()
    encoded = source.encode()
    library.nvrtcCreateProgram(ctypes.byref(program), encoded, b"kernels.cu", 0, None, None)
    try:
        arguments = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = library.nvrtcCompileProgram(program, len(options), arguments)
        size = ctypes.c_size_t()
        if status != NVRTC_SUCCESS:
            library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            library.nvrtcGetProgramLog(program, log)
            raise KernelError(
                f"{library.nvrtcGetErrorString(status).decode()}\n{log.value.decode(errors='replace')}"
            )
        kind = "CUBIN" if as_cubin else "PTX"
        getattr(library, f"nvrtcGet{kind}Size")(program, ctypes.byref(size))
        code = ctypes.create_string_buffer(size.value)
        getattr(library, f"nvrtcGet{kind}")(program, code)
        return code.raw
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))

"""CUDA C++ compiled at run time and launched on torch's current stream, without nvcc or a C compiler.

    SCALE = Source.of("prelude.cuh", "scale.cu", options=("-DROWS=4",))   # files of inference/kernels/cuda
    kernel = SCALE.kernel("scale", "PPfi", device=x.device)               # compiled, loaded, cached
    kernel(x, y, 2.0, x.numel(), grid=(blocks,), block=(256,), shared=0)  # on torch's current stream

- ``prelude.cuh`` has the conversions, loads and fences that CUDA's headers would give: sources must not
  ``#include`` anything (torch's wheels for Windows bring no headers; compiling is faster too). Kernels are
  ``extern "C" __global__``; write C++ templates freely and instantiate them in such a kernel, or use ``-D``
  options, which are part of the cache's key.
- The signature has one letter an argument, in the kernel's order: ``P`` pointer (a tensor, an address or
  None), ``i`` int, ``I`` unsigned, ``q`` long long, ``f`` float, ``d`` double.
- Keep every tensor alive until the stream has run the kernel, as torch's allocator does for tensors that are
  freed on the same stream. Arguments are copied at the call. Everything can be captured in a CUDA graph;
  call once before capturing, since compiling and loading cannot be captured.
- ``dependent=True`` lets the kernel start while the one before it in the stream still runs (programmatic
  dependent launch, compute capability 9.0 and later; elsewhere it is ignored). Such a kernel must execute
  ``wait_for_previous()`` in every thread that goes on to touch what an earlier kernel writes or reads, and in
  at least one thread of every block; only reading weights and tables may come before.
  ``start_next()`` in a kernel lets a dependent successor come early.
- ``KernelUnavailable``: there is no NVRTC, no driver, or the GPU is older than compute capability 8.0;
  callers fall back. ``KernelError``: the source does not compile, or a launch was refused.

Cubins are kept in the user's cache folder (key: source, options, architecture, NVRTC's version), so that a
second process starts in milliseconds. A GPU newer than NVRTC gets PTX, which the driver compiles.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs
import torch

from inference.kernels.libraries import (
    KernelError,
    KernelUnavailable,
    check_driver,
    compile_source,
    driver,
    nvrtc_version,
    supported_architectures,
)

__all__ = ["Kernel", "KernelError", "KernelUnavailable", "Source", "available", "compile_code"]

OLDEST = 80
"""Compute capability 8.0: the first with bf16 matrix instructions."""

_PROGRAMMATIC_SERIALIZATION = 6
_MAX_DYNAMIC_SHARED = 8
_INVALID_CONTEXT = 201
_PARAMETERS_POINTER, _PARAMETERS_SIZE, _PARAMETERS_END = 1, 2, 0
_DEFAULT_SHARED = 48 * 1024

Argument = torch.Tensor | int | float | None


class _Attribute(ctypes.Structure):
    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_int * 16)]


class _LaunchConfig(ctypes.Structure):
    _fields_ = [
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(_Attribute)),
        ("attribute_count", ctypes.c_uint),
    ]


def _cache_folder() -> Path:
    return Path(platformdirs.user_cache_dir("model-loupe", appauthor=False)) / "kernels"


def _architecture(capability: int) -> tuple[str, bool]:
    """NVRTC's name of the target and whether it is machine code for exactly this GPU."""
    known = [value for value in supported_architectures() if value <= capability]
    if not known:
        raise KernelUnavailable(f"NVRTC knows no architecture up to {capability}.")
    exact = known[-1] == capability
    return (f"sm_{capability}", True) if exact else (f"compute_{known[-1]}", False)


def compile_code(source: str, options: tuple[str, ...], capability: int) -> bytes:
    """The machine code (or PTX) of ``source`` for a compute capability such as 90; kept on the disk.

    Needs no GPU.

    Raises:
        KernelUnavailable: Without NVRTC, or below compute capability 8.0.
        KernelError: When the source does not compile.
    """
    if capability < OLDEST:
        raise KernelUnavailable(f"Compute capability {capability / 10} is older than {OLDEST / 10}.")
    target, as_cubin = _architecture(capability)
    flags = (f"--gpu-architecture={target}", "--std=c++17", *options)
    key = hashlib.sha256(repr((source, flags, nvrtc_version())).encode()).hexdigest()
    path = _cache_folder() / f"{key}.{'cubin' if as_cubin else 'ptx'}"
    try:
        return path.read_bytes()
    except OSError:
        code = compile_source(source, flags, as_cubin=as_cubin)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        partial.write_bytes(code)
        partial.replace(path)
    except OSError:
        pass  # A cache that cannot be written costs a second at the next start, nothing else.
    return code


@functools.cache
def _capability(index: int) -> int:
    major, minor = torch.cuda.get_device_capability(index)
    return 10 * major + minor


@functools.cache
def available(device: torch.device) -> str:
    """Why kernels cannot run on ``device``, in one sentence; empty when they can."""
    if device.type != "cuda" or torch.version.cuda is None or not torch.cuda.is_available():
        return "Kernels need an NVIDIA GPU."
    try:
        driver()
        capability = _capability(torch.cuda.current_device() if device.index is None else device.index)
        if capability < OLDEST:
            return f"The GPU's compute capability {capability / 10} is older than {OLDEST / 10}."
        _architecture(capability)
    except (KernelUnavailable, RuntimeError) as error:
        return str(error)
    return ""


@functools.cache
def _text(name: str) -> str:
    return (resources.files("inference.kernels") / "cuda" / name).read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """CUDA C++ text and the compiler's options; equal sources share one compiled module a device."""

    text: str
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, *files: str, options: tuple[str, ...] = ()) -> Source:
        """The files of ``inference/kernels/cuda`` by name, one after the other."""
        return cls(text="\n".join(_text(name) for name in files), options=options)

    def kernel(self, name: str, signature: str, *, device: torch.device) -> Kernel:
        """The kernel of that name, compiled and loaded on first use.

        Raises:
            KernelUnavailable: When kernels cannot run on ``device``.
            KernelError: When the text does not compile or has no such kernel.
        """
        reason = available(device)
        if reason:
            raise KernelUnavailable(reason)
        index = torch.cuda.current_device() if device.index is None else device.index
        _code(self, index)  # outside the lock: several threads may compile several sources at once
        with _loading:
            return _loaded(self, name, signature, index)


_loading = threading.RLock()


@functools.cache
def _code(source: Source, index: int) -> bytes:
    return compile_code(source.text, source.options, _capability(index))


@functools.cache
def _context(index: int) -> ctypes.c_void_p:
    """The device's primary context, the one that torch uses."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    check_driver(driver().cuInit(0), "starting the driver")
    check_driver(driver().cuDeviceGet(ctypes.byref(device), index), "finding the device")
    check_driver(driver().cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "entering the device")
    return context


@contextmanager
def _entered(index: int) -> Iterator[None]:
    """The device's context is this thread's: a thread has none before torch has used the device on it."""
    check_driver(driver().cuCtxPushCurrent_v2(_context(index)), "entering the device")
    try:
        yield
    finally:
        driver().cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))


@functools.cache
def _module(source: Source, index: int) -> ctypes.c_void_p:
    code = _code(source, index)
    module = ctypes.c_void_p()
    with _entered(index):
        check_driver(driver().cuModuleLoadData(ctypes.byref(module), code), "loading a kernel")
    return module


@functools.cache
def _loaded(source: Source, name: str, signature: str, index: int) -> Kernel:
    function = ctypes.c_void_p()
    module = _module(source, index)
    with _entered(index):
        status = driver().cuModuleGetFunction(ctypes.byref(function), module, name.encode())
    check_driver(status, f"looking up the kernel {name}")
    return Kernel(function=function, name=name, signature=signature, index=index)


class Kernel:
    """A loaded kernel. Call it with its arguments; see the module's docstring."""

    def __init__(self, *, function: ctypes.c_void_p, name: str, signature: str, index: int) -> None:
        self.name = name
        self._function = function
        self._index = index
        self._layout = struct.Struct("@" + signature)
        self._buffer = ctypes.create_string_buffer(max(1, self._layout.size))
        self._size = ctypes.c_size_t(self._layout.size)
        self._extra = (ctypes.c_void_p * 5)(
            _PARAMETERS_POINTER,
            ctypes.addressof(self._buffer),
            _PARAMETERS_SIZE,
            ctypes.addressof(self._size),
            _PARAMETERS_END,
        )
        self._attribute = _Attribute(id=_PROGRAMMATIC_SERIALIZATION)
        self._attribute.value[0] = 1
        self._config = _LaunchConfig(attributes=ctypes.pointer(self._attribute))
        self._config_pointer = ctypes.byref(self._config)
        self._launch = driver().cuLaunchKernelEx
        self._can_overlap = _capability(index) >= 90
        self._several_devices = torch.cuda.device_count() > 1
        self._shared_limit = _DEFAULT_SHARED
        self._lock = threading.Lock()

    def __call__(
        self,
        *arguments: Argument,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        shared: int = 0,
        dependent: bool = False,
    ) -> None:
        """Launches on the current stream of the kernel's device.

        Args:
            arguments: In the signature's order; a tensor stands for its address.
            grid: One to three numbers of thread blocks.
            block: One to three numbers of threads.
            shared: Bytes of dynamic shared memory.
            dependent: May start before the kernel before it has ended.

        Raises:
            KernelError: When the driver refuses the launch.
        """
        values = [
            value.data_ptr() if isinstance(value, torch.Tensor) else 0 if value is None else value
            for value in arguments
        ]
        if shared > self._shared_limit:
            self._allow_shared(shared)
        stream = torch._C._cuda_getCurrentRawStream(self._index)
        config = self._config
        guard = torch.cuda.device(self._index) if self._several_devices else nullcontext()
        with self._lock, guard:
            self._layout.pack_into(self._buffer, 0, *values)
            config.grid[:] = (*grid, 1, 1)[:3]
            config.block[:] = (*block, 1, 1)[:3]
            config.shared = shared
            config.stream = stream
            config.attribute_count = 1 if dependent and self._can_overlap else 0
            status = self._launch(self._config_pointer, self._function, None, self._extra)
            if status == _INVALID_CONTEXT:
                with _entered(self._index):
                    status = self._launch(self._config_pointer, self._function, None, self._extra)
        if status:
            check_driver(status, f"launching the kernel {self.name}")

    def _allow_shared(self, shared: int) -> None:
        with _entered(self._index):
            status = driver().cuFuncSetAttribute(self._function, _MAX_DYNAMIC_SHARED, shared)
        check_driver(status, f"{shared} bytes of shared memory for the kernel {self.name}")
        self._shared_limit = shared

    def blocks_per_multiprocessor(self, threads: int, shared: int = 0) -> int:
        """How many thread blocks of this kernel fit on one multiprocessor at once."""
        if shared > self._shared_limit:
            self._allow_shared(shared)
        count = ctypes.c_int()
        call = driver().cuOccupancyMaxActiveBlocksPerMultiprocessor
        with _entered(self._index):
            status = call(ctypes.byref(count), self._function, ctypes.c_int(threads), ctypes.c_size_t(shared))
        check_driver(status, f"asking for the occupancy of {self.name}")
        return count.value

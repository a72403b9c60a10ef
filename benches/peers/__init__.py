"""What wgpu-conv is compared with: each module here knows one library, and works where that library is installed.

A peer is made once (`available` gives those that this machine has) and prepares each layer for itself:

    name      how it is called on the command line and in tables
    on_gpu    whether it computes on a GPU (or on a software adapter that stands in for one)
    gpu_time  whether its times are the GPU's own, without upload and read-back
    exact     False where it is allowed a shorter mantissa (TF32)
    about     version and device, for the head of a table
    prepare(layer, tensors) -> Prepared, or raises an exception that says why it cannot run this layer

and a Prepared has `time()`, milliseconds of one call that ends when the result is there, `result()`, the output as a NumPy
array, and `close()`.
"""

from dataclasses import dataclass
from importlib import import_module
from time import perf_counter

import numpy


@dataclass(frozen=True)
class Layer:
    """A convolution, as `wgpu-conv bench --serve` describes it. Lists have a number for each spatial axis (2-D: rows, columns);
    padding has two for each, before and after it (2-D: top, bottom, left, right)."""

    name: str
    problem: str
    transposed: bool
    input: list
    weight: list
    output: list
    stride: list
    padding: list
    output_padding: list
    dilation: list
    groups: int
    dtype: str
    layout: str
    bias: bool
    flops: int
    sum_length: int

    @property
    def axes(self):
        """The number of spatial axes."""
        return len(self.stride)

    def pair_padding(self):
        """Padding of each axis, for libraries that pad both sides alike."""
        before, after = self.padding[::2], self.padding[1::2]
        if before != after:
            raise NotImplementedError("padding that differs between two sides")
        return tuple(before)

    def require_plain(self):
        """For peers that are compared on float32 tensors with channels first only."""
        if self.dtype != "f32" or self.layout != "nchw":
            raise NotImplementedError(f"this peer is compared on f32 nchw tensors only, not on {self.dtype} {self.layout}")

    def require_image(self):
        """For peers that are compared on two axes, and forwards, only."""
        if self.transposed or self.axes != 2:
            raise NotImplementedError("this peer is compared on 2-D convolutions only, and on no transposed ones")


@dataclass(frozen=True)
class Tensors:
    """float32 arrays, channels first, with numbers that the layer's type can hold; `bias` may be None. Every result must lie within `bounds` of `expected`."""

    input: numpy.ndarray
    weight: numpy.ndarray
    bias: numpy.ndarray
    expected: numpy.ndarray
    bounds: numpy.ndarray


class Call:
    """A Prepared of a function that returns when its result is there."""

    def __init__(self, call, to_array=lambda result: result):
        self.call, self.to_array = call, to_array

    def time(self):
        start = perf_counter()
        result = self.call()
        elapsed = perf_counter() - start
        del result
        return elapsed * 1e3

    def result(self):
        return self.to_array(self.call())

    def close(self):
        self.call = None


def available(threads, note):
    """The peers of this machine. `note` is told which libraries are missing and why."""
    peers = []
    for module in ("ort", "pytorch", "cudnn", "ncnn_net"):
        try:
            peers += import_module(f"peers.{module}").peers(threads)
        except ImportError as error:
            note(f"not here: {error}")
        except (RuntimeError, OSError) as error:
            note(f"{module} does not work here: {error}")
    return peers

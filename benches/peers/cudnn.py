"""cuDNN itself, since PyTorch does not let one choose its algorithm: float32 with fused multiply-adds only (no TF32), the
fastest algorithm other than Winograd (`cudnn-gpu`), and the fastest of all (`cudnn-any-gpu`).

Memory, streams and events come from PyTorch. It adds no bias, which is less work than ours does.
"""

import ctypes

import torch

from . import pytorch

NCHW = FLOAT = 0
CROSS_CORRELATION = 1
FMA_MATH = 3
ALGORITHMS = {
    0: "implicit GEMM",
    1: "implicit GEMM, precomputed",
    2: "GEMM",
    4: "FFT",
    5: "tiled FFT",
    6: "Winograd",
    7: "Winograd, not fused",
}
WINOGRAD = {6, 7}
# An algorithm that wants more is left out.
LARGEST_WORKSPACE = 8 << 30


def peers(threads):
    if not torch.cuda.is_available():
        return []
    cudnn = Cudnn()
    return [Peer(cudnn, "cudnn-gpu", WINOGRAD), Peer(cudnn, "cudnn-any-gpu", set())]


class Cudnn:
    """The functions of the library that PyTorch has loaded."""

    def __init__(self):
        major = torch.backends.cudnn.version() // (10000 if torch.backends.cudnn.version() >= 90000 else 1000)
        self.library = ctypes.CDLL(f"libcudnn.so.{major}")
        self.library.cudnnGetErrorString.restype = ctypes.c_char_p
        self.handle = self.create("cudnnCreate")

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            raise RuntimeError(f"{name}: {self.library.cudnnGetErrorString(code).decode()}")

    def create(self, name):
        made = ctypes.c_void_p()
        self.call(name, ctypes.byref(made))
        return made


class Peer:
    on_gpu = gpu_time = exact = True

    def __init__(self, cudnn, name, left_out):
        self.cudnn, self.name, self.left_out = cudnn, name, left_out
        choice = "algorithms other than Winograd" if left_out else "all algorithms"
        self.about = f"cuDNN {torch.backends.cudnn.version()}, float32 without TF32, the fastest of {choice}, no bias"

    def prepare(self, layer, tensors):
        layer.require_plain()
        layer.require_image()
        convolution = Convolution(self.cudnn, layer, tensors)
        best = None
        for algorithm in ALGORITHMS.keys() - self.left_out:
            try:
                run = convolution.with_algorithm(algorithm)
                timed = pytorch.Graph(run, convolution.to_array)
                time = min(timed.time() for _ in range(3))
            except RuntimeError:
                # It does not run this layer, or not in this much memory.
                continue
            if best is None or time < best[0]:
                best = time, algorithm, timed
        if best is None:
            raise RuntimeError("no algorithm of cuDNN runs this layer")
        best[2].about = ALGORITHMS[best[1]]
        return best[2]


class Convolution:
    """Descriptors and memory of one layer."""

    def __init__(self, cudnn, layer, tensors):
        self.cudnn, self.bias = cudnn, tensors.bias
        self.x, self.w = (torch.from_numpy(array).cuda() for array in (tensors.input, tensors.weight))
        self.y = torch.empty(layer.output, device="cuda")
        self.x_shape, self.y_shape = (cudnn.create("cudnnCreateTensorDescriptor") for _ in range(2))
        for shape, sizes in ((self.x_shape, layer.input), (self.y_shape, layer.output)):
            cudnn.call("cudnnSetTensor4dDescriptor", shape, NCHW, FLOAT, *sizes)
        self.w_shape = cudnn.create("cudnnCreateFilterDescriptor")
        cudnn.call("cudnnSetFilter4dDescriptor", self.w_shape, FLOAT, NCHW, *layer.weight)
        self.settings = cudnn.create("cudnnCreateConvolutionDescriptor")
        geometry = (*layer.pair_padding(), *layer.stride, *layer.dilation)
        cudnn.call("cudnnSetConvolution2dDescriptor", self.settings, *geometry, CROSS_CORRELATION, FLOAT)
        cudnn.call("cudnnSetConvolutionGroupCount", self.settings, layer.groups)
        cudnn.call("cudnnSetConvolutionMathType", self.settings, FMA_MATH)

    def with_algorithm(self, algorithm):
        shapes = self.x_shape, self.w_shape, self.settings, self.y_shape
        size = ctypes.c_size_t()
        self.cudnn.call(
            "cudnnGetConvolutionForwardWorkspaceSize", self.cudnn.handle, *shapes, algorithm, ctypes.byref(size)
        )
        if size.value > LARGEST_WORKSPACE:
            raise RuntimeError(f"a workspace of {size.value} bytes")
        workspace = torch.empty(max(size.value, 1), dtype=torch.uint8, device="cuda")
        one, zero = ctypes.c_float(1), ctypes.c_float(0)
        pointer = lambda tensor: ctypes.c_void_p(tensor.data_ptr())

        def convolve():
            stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
            self.cudnn.call("cudnnSetStream", self.cudnn.handle, stream)
            self.cudnn.call(
                "cudnnConvolutionForward", self.cudnn.handle, ctypes.byref(one), self.x_shape, pointer(self.x),
                self.w_shape, pointer(self.w), self.settings, algorithm, pointer(workspace), size,
                ctypes.byref(zero), self.y_shape, pointer(self.y),
            )  # fmt: skip
            return self.y

        convolve()
        torch.cuda.synchronize()
        return convolve

    def to_array(self, result):
        bias = 0 if self.bias is None else self.bias.reshape(1, -1, 1, 1)
        return result.cpu().numpy() + bias

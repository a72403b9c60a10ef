"""PyTorch: its CPU operators; on CUDA cuDNN, which it lets try its algorithms first (cudnn.benchmark), with TF32 off and on.

Each CUDA peer is there twice: whole calls through pinned memory, and the GPU's time alone by CUDA events around a graph of
many convolutions, so that starting them from Python is in no time.
"""

import torch
from torch.nn import functional

from . import Call

# Convolutions between two events, so that neither the clock's step nor the events themselves count.
REPEATS = 20
TYPES = {"f32": torch.float32, "f16": torch.float16}


def peers(threads):
    torch.set_num_threads(threads)
    version = f"PyTorch {torch.__version__}"
    found = [Peer("torch-cpu", f"{version}, CPU", torch.device("cpu"))]
    if torch.cuda.is_available():
        torch.backends.cudnn.benchmark = True
        cuda = torch.device("cuda")
        about = f"{version}, cuDNN {torch.backends.cudnn.version()}, {torch.cuda.get_device_name(cuda)}"
        for gpu_time in (False, True):
            end = "-gpu" if gpu_time else ""
            found.append(Peer("torch-cuda" + end, f"{about}, TF32 off", cuda, gpu_time=gpu_time))
            found.append(Peer("torch-cuda-tf32" + end, f"{about}, TF32 on", cuda, tf32=True, gpu_time=gpu_time))
    return found


def memory_format(layer):
    """PyTorch's name of the order of a layer's tensors."""
    if layer.layout == "nchw":
        return torch.contiguous_format
    if layer.axes == 1:
        raise NotImplementedError("PyTorch has no channels last for one spatial axis")
    return torch.channels_last if layer.axes == 2 else torch.channels_last_3d


class Peer:
    def __init__(self, name, about, device, tf32=False, gpu_time=False):
        self.name, self.about, self.device, self.tf32, self.gpu_time = name, about, device, tf32, gpu_time
        self.on_gpu, self.exact = device.type != "cpu", not tf32

    def prepare(self, layer, tensors):
        padding = layer.pair_padding()
        kind = "conv_transpose" if layer.transposed else "conv"
        function = getattr(functional, f"{kind}{layer.axes}d")
        settings = {"stride": layer.stride, "padding": padding, "dilation": layer.dilation, "groups": layer.groups}
        if layer.transposed:
            settings["output_padding"] = layer.output_padding
        arrays = (tensors.input, tensors.weight) + ((tensors.bias,) if layer.bias else ())
        dtype, order = TYPES[layer.dtype], memory_format(layer)
        host = [torch.from_numpy(array).to(dtype) for array in arrays]
        host[:2] = [tensor.contiguous(memory_format=order) for tensor in host[:2]]
        x, w, b = [tensor.to(self.device) for tensor in host] + [None] * (3 - len(host))

        def convolve():
            # The switch is one for the whole process, and other peers set it otherwise.
            torch.backends.cudnn.allow_tf32 = self.tf32
            with torch.no_grad():
                return function(x, w, b, **settings)

        to_array = lambda result: result.cpu().float().numpy()
        if self.device.type == "cpu":
            return Call(convolve, to_array)
        # cuDNN tries its algorithms at the first calls.
        for _ in range(3):
            convolve()
        torch.cuda.synchronize()
        if self.gpu_time:
            return Graph(convolve, to_array)
        pinned_input = host[0].pin_memory()
        pinned_output = torch.empty(layer.output, dtype=dtype, memory_format=order, pin_memory=True)

        def whole_call():
            x.copy_(pinned_input, non_blocking=True)
            pinned_output.copy_(convolve(), non_blocking=True)
            torch.cuda.synchronize()
            return pinned_output

        return Call(whole_call, to_array)


class Graph:
    """Times a recorded graph of convolutions on the GPU."""

    def __init__(self, convolve, to_array):
        self.convolve, self.to_array = convolve, to_array
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for _ in range(REPEATS):
                self.output = convolve()
        self.graph.replay()
        torch.cuda.synchronize()

    def time(self):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        self.graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / REPEATS

    def result(self):
        self.graph.replay()
        torch.cuda.synchronize()
        return self.to_array(self.output)

    def close(self):
        self.graph = self.output = self.convolve = None

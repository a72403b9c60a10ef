"""ncnn, on the CPU and through Vulkan, in float32 throughout. It has no batch axis: a batch is one call for each image."""

import struct
import tempfile
from pathlib import Path

import ncnn
import numpy

from . import Call


def peers(threads):
    found = [Peer("ncnn-cpu", None, threads)]
    if hasattr(ncnn, "create_gpu_instance"):
        ncnn.create_gpu_instance()
        if ncnn.get_gpu_count() > 0:
            found.append(Peer("ncnn-vulkan", ncnn.get_gpu_info(ncnn.get_default_gpu_index()).device_name(), threads))
    return found


class Peer:
    gpu_time = False
    exact = True

    def __init__(self, name, device, threads):
        self.name, self.on_gpu, self.threads = name, device is not None, threads
        self.about = f"ncnn {getattr(ncnn, '__version__', '?')}, {device or 'CPU'}"

    def prepare(self, layer, tensors):
        layer.require_plain()
        layer.require_image()
        net = ncnn.Net()
        options = net.opt
        options.use_vulkan_compute = self.on_gpu
        options.num_threads = self.threads
        # Threads that wait for the next parallel loop would take the processor from whose turn is next.
        options.openmp_blocktime = 0
        for name in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage"):
            if hasattr(options, name):
                setattr(options, name, False)
        with tempfile.TemporaryDirectory() as folder:
            write_net(Path(folder), layer, tensors)
            if net.load_param(f"{folder}/net.param") != 0 or net.load_model(f"{folder}/net.bin") != 0:
                raise RuntimeError("ncnn does not load this layer")
        images = [ncnn.Mat(image).clone() for image in tensors.input]

        def call():
            outputs = []
            for image in images:
                extractor = net.create_extractor()
                extractor.input("x", image)
                code, output = extractor.extract("y")
                if code != 0:
                    raise RuntimeError(f"ncnn cannot run this layer: code {code}")
                outputs.append(output)
            return outputs

        return Call(call, lambda outputs: numpy.stack([numpy.array(output) for output in outputs]))


def write_net(folder, layer, tensors):
    """The two files of a net with one layer: its text, and its weights after a word that says float32."""
    (_, _, rows, columns), (top, bottom, left, right) = layer.weight, layer.padding
    values = {
        0: layer.output[1],
        1: columns,
        11: rows,
        2: layer.dilation[1],
        12: layer.dilation[0],
        3: layer.stride[1],
        13: layer.stride[0],
        4: left,
        15: right,
        14: top,
        16: bottom,
        5: int(layer.bias),
        6: tensors.weight.size,
    }
    if layer.groups > 1:
        values[7] = layer.groups
    kind = "ConvolutionDepthWise" if layer.groups > 1 else "Convolution"
    settings = " ".join(f"{key}={value}" for key, value in values.items())
    lines = ["7767517", "2 2", "Input x 0 1 x", f"{kind} conv 1 1 x y {settings}"]
    (folder / "net.param").write_text("\n".join(lines) + "\n")
    with open(folder / "net.bin", "wb") as file:
        file.write(struct.pack("<I", 0))
        file.write(tensors.weight.tobytes())
        if layer.bias:
            file.write(tensors.bias.tobytes())

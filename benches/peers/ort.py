"""onnxruntime: its CPU provider, and whichever of its GPU providers the installed package has."""

import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from . import Call

GPU_PROVIDERS = {"cuda": "CUDAExecutionProvider", "webgpu": "WebGpuExecutionProvider", "dml": "DmlExecutionProvider"}


def peers(threads):
    onnxruntime.set_default_logger_severity(3)
    there = onnxruntime.get_available_providers()
    found = [Peer("onnxruntime-cpu", "CPUExecutionProvider", {}, threads)]
    for name, provider in GPU_PROVIDERS.items():
        if provider in there:
            options = {"use_tf32": 0, "cudnn_conv_algo_search": "EXHAUSTIVE"} if name == "cuda" else {}
            found.append(Peer(f"onnxruntime-{name}", provider, options, threads))
    return found


class Peer:
    gpu_time = False
    exact = True

    def __init__(self, name, provider, options, threads):
        self.name, self.provider, self.options, self.threads = name, provider, options, threads
        self.on_gpu = provider != "CPUExecutionProvider"
        self.about = f"onnxruntime {onnxruntime.__version__}, {provider}"

    def prepare(self, layer, tensors):
        layer.require_plain()
        node = helper.make_node(
            "ConvTranspose" if layer.transposed else "Conv",
            ["x", "w"] + (["b"] if layer.bias else []),
            ["y"],
            kernel_shape=layer.weight[2:],
            strides=layer.stride,
            dilations=layer.dilation,
            pads=layer.padding[::2] + layer.padding[1::2],
            group=layer.groups,
            **({"output_padding": layer.output_padding} if layer.transposed else {}),
        )
        constants = {"w": tensors.weight} | ({"b": tensors.bias} if layer.bias else {})
        value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(
            [node],
            "conv",
            [value("x", layer.input)],
            [value("y", layer.output)],
            [numpy_helper.from_array(array, name) for name, array in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Its threads would else go on spinning after a call, and take the processor from whose turn is next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        # No quiet fallback to the CPU.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1" if self.on_gpu else "0")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, [(self.provider, self.options)])
        if session.get_providers()[0] != self.provider:
            raise RuntimeError(f"onnxruntime fell back to {session.get_providers()}")
        return Call(lambda: session.run(["y"], {"x": tensors.input})[0])

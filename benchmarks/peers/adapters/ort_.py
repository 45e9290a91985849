"""ONNX Runtime on its CPU provider: inference. Operations are graphs of one node, models are exported from PyTorch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.peers import inputs
from benchmarks.peers.adapters.base import Adapter, Call, Skip, float32_only
from benchmarks.peers.inputs import Array, Params
from benchmarks.peers.process import CACHE, ROOT

TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class OnnxRuntime(Adapter):
    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads, self.options.inter_op_num_threads = threads, 1
        self.options.log_severity_level = 3

    def info(self) -> dict[str, Any]:
        return {"version": onnxruntime.__version__, "threads": self.options.intra_op_num_threads}

    def to_numpy(self, x: Any) -> Any:
        return x.numpy()

    def session(self, model: Any, fed: dict[str, Array]) -> Call:
        """Runs a model, or a file, with its inputs bound once."""
        session = onnxruntime.InferenceSession(model, self.options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        for name, array in fed.items():
            binding.bind_cpu_input(name, array)
        for output in session.get_outputs():
            binding.bind_output(output.name, "cpu")

        def run():
            session.run_with_iobinding(binding)
            return binding.get_outputs()[0]

        return run

    def graph(self, nodes: list[Any], fed: dict[str, Array], constants: dict[str, Array] | None = None) -> Call:
        """A graph from the inputs `fed` to "y"."""
        given = [helper.make_tensor_value_info(name, TYPES[x.dtype.name], x.shape) for name, x in fed.items()]
        out = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
        values = [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()]
        graph = helper.make_graph(nodes, "case", given, out, values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
        return self.session(model.SerializeToString(), fed)

    def one(self, op: str, fed: dict[str, Array], constants: dict[str, Array] | None = None, **attributes: Any) -> Call:
        """A graph of one node."""
        node = helper.make_node(op, [*fed, *(constants or {})], ["y"], **attributes)
        return self.graph([node], fed, constants)

    # ------------------------------------------------------------ operations
    def matmul(self, p: Params) -> Call:
        float32_only(p)
        a, b = inputs.matmul(p)
        if p["ta"] or p["tb"]:
            return self.one("Gemm", {"a": a, "b": b}, transA=p["ta"], transB=p["tb"])
        if p["batch"] > 1:
            return self.one("MatMul", {"a": a, "b": b})
        return self.one("MatMul", {"a": a}, {"b": b})  # a constant weight is packed in advance, as when it is served

    def conv_fwd(self, p: Params) -> Call:
        x, w, _ = inputs.conv(p)
        sizes = {"kernel_shape": [p["k"]] * 2, "strides": [p["s"]] * 2, "pads": [p["p"]] * 4}
        return self.one("Conv", {"x": x}, {"w": w}, **sizes, group=p["g"])

    def add(self, p: Params) -> Call:
        a, b = inputs.normal((p["n"],), (p["n"],))
        return self.one("Add", {"a": a, "b": b})

    def sum(self, p: Params) -> Call:
        (a,) = inputs.normal((p["n"],))
        return self.one("ReduceSum", {"a": a}, keepdims=0)

    def softmax_fwd(self, p: Params) -> Call:
        (x,) = inputs.rows(p)
        return self.one("Softmax", {"x": x}, axis=-1)

    def layernorm_fwd(self, p: Params) -> Call:
        (x,) = inputs.rows(p)
        constants = {"w": np.ones(p["C"], np.float32), "b": np.zeros(p["C"], np.float32)}
        return self.one("LayerNormalization", {"x": x}, constants, axis=-1, epsilon=1e-5)

    def gelu_fwd(self, p: Params) -> Call:
        (x,) = inputs.rows(p)
        return self.one("Gelu", {"x": x}, approximate="tanh")

    def maxpool_fwd(self, p: Params) -> Call:
        x, _ = inputs.pooled(p)
        return self.one("MaxPool", {"x": x}, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def embedding_fwd(self, p: Params) -> Call:
        w, indices, _ = inputs.table(p)
        return self.one("Gather", {"w": w, "indices": indices})

    def attn_fwd(self, p: Params) -> Call:
        q, k, v, _ = inputs.attention(p)
        return self.one("Attention", {"q": q, "k": k, "v": v}, is_causal=int(p["causal"]))

    def attn_decode(self, p: Params) -> Call:
        q, k, v = inputs.attention(p)
        return self.one("Attention", {"q": q, "k": k, "v": v})

    def rnn(self, p: Params) -> Call:
        if p["bwd"]:
            raise Skip("inference only")
        weights, x, _ = inputs.recurrent(p)
        lstm = p["kind"] == "lstm"
        order = [0, 3, 1, 2] if lstm else [1, 0, 2]  # of PyTorch's gates

        def reordered(array: Array) -> Array:
            gates = np.split(array, len(order))
            return np.concatenate([gates[i] for i in order])

        constants, nodes, source = {"axis": np.array([1])}, [], "x"
        for i in range(p["layers"]):
            w_ih, w_hh, b_ih, b_hh = (reordered(array) for array in weights[4 * i : 4 * i + 4])
            biases = np.concatenate([b_ih, b_hh])
            constants |= {f"w{i}": w_ih[None], f"r{i}": w_hh[None], f"b{i}": biases[None]}
            given, out = [source, f"w{i}", f"r{i}", f"b{i}"], "y" if i == p["layers"] - 1 else f"x{i}"
            attributes = {"hidden_size": p["H"]} | ({} if lstm else {"linear_before_reset": 1})
            nodes.append(helper.make_node(p["kind"].upper(), given, [f"h{i}"], **attributes))
            nodes.append(helper.make_node("Squeeze", [f"h{i}", "axis"], [out]))
            source = out
        return self.graph(nodes, {"x": x}, constants)

    # ------------------------------------------------------------ models
    def infer_vit(self, p: Params) -> Call:
        x, _ = inputs.labelled(p["B"], 3, 224, 224)
        return self.session(exported("vit", p["B"]), {"x": x})

    def infer_resnet50(self, p: Params) -> Call:
        x, _ = inputs.labelled(p["B"], 3, 224, 224)
        return self.session(exported("resnet50", p["B"]), {"x": x})

    def gpt_prefill(self, p: Params) -> Call:
        float32_only(p)
        tokens, _ = inputs.gpt_batch(inputs.GPT["gpt2"], 1, p["T"])
        return self.session(exported("gpt2", p["T"]), {"x": tokens})

    # ------------------------------------------------------------ dispatch
    def tiny_add(self, p: Params) -> Call:
        return self.one("Add", {"a": np.ones(8, np.float32), "b": np.ones(8, np.float32)})

    def tiny_chain(self, p: Params) -> Call:
        nodes, source = [], "a"
        for i in range(5):
            out = "y" if i == 4 else f"x{i}"
            nodes.append(helper.make_node("Mul", [source, "b"], [f"m{i}"]))
            nodes.append(helper.make_node("Add", [f"m{i}", "a"], [out]))
            source = out
        return self.graph(nodes, {"a": np.full(8, 0.5, np.float32), "b": np.ones(8, np.float32)})


def exported(model: str, size: int) -> str:
    """The file of a model, written by a process of its own unless one is there that is newer than the code."""
    if importlib.util.find_spec("torch") is None:
        raise Skip("PyTorch, which exports the models, is not installed")
    path = CACHE / f"{model}_{size}.onnx"
    code = max(file.stat().st_mtime for file in Path(__file__).parents[1].rglob("*.py"))
    if not path.exists() or path.stat().st_mtime < code:
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.peers.adapters.export", model, str(size), str(path)]
        subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return str(path)

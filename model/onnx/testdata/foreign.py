"""Writes foreign.onnx with the onnx package: what other writers do and this one
does not. Tensors as typed data and as raw bytes, doc strings, several operator
sets, value_info, packed and free dimensions, attributes of other types.

    python foreign.py        (pip: onnx)
"""
import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

initializers = [
    h.make_tensor("typed", T.FLOAT, [2, 2], [1.5, -2.25, 3e-8, 65504.0]),
    nh.from_array(np.array([[0.1, -0.2, np.float32(1e30)]], np.float32), "raw"),
    nh.from_array(np.array([1.0, -0.5, 2.0**-24], np.float16), "half"),
    nh.from_array(np.array([-1, 2**40], np.int64), "shape"),
    nh.from_array(np.float32(7).reshape(()), "scalar"),
]
nodes = [
    h.make_node("MatMul", ["x", "typed"], ["m"], name="matmul", doc_string="a comment"),
    h.make_node("Reshape", ["m", "shape"], ["r"], name="reshape", allowzero=1),
    h.make_node("FusedThing", ["r", "", "scalar"], ["y"], name="fused", domain="com.example",
                alpha=0.25, mode="same", pads=[0, 0, 1, 1], scales=[1.0, 2.0], words=["a", "b"]),
]
graph = h.make_graph(
    nodes, "foreign",
    [h.make_tensor_value_info("x", T.FLOAT, ["N", 2])],
    [h.make_tensor_value_info("y", T.FLOAT, ["N", None, 4])],
    initializers, doc_string="a graph", value_info=[h.make_tensor_value_info("m", T.FLOAT, ["N", 2])])
model = h.make_model(graph, producer_name="foreign", producer_version="1", ir_version=8, doc_string="a model",
                     opset_imports=[h.make_opsetid("com.example", 3), h.make_opsetid("", 17)])
h.set_model_props(model, {"key": "value", "empty": "", "ключ": "значение"})
onnx.save(model, "foreign.onnx")

# SPDX-License-Identifier: BSD-3-Clause
"""A model whose one node is gkl's operator, run by ONNX Runtime: python model.py LIBRARY."""

import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

import gkl


def session(library, dtype=np.float32):
    """The model, with the operator of this library, for float32 or float64."""
    kind = TensorProto.DOUBLE if dtype == np.float64 else TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(x, kind, ["n", "d"]) for x in ("mean", "logvar")]
    output = helper.make_tensor_value_info("kl", kind, ["n"])
    node = helper.make_node("KLDiagLogvar", ["mean", "logvar"], ["kl"], domain="gkl")
    model = helper.make_model(
        helper.make_graph([node], "kl", inputs, [output]),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("gkl", 1)],
        ir_version=8,
    )
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(library)
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    mean, logvar = rng.normal(size=(2, 3, 8)).astype(np.float32)
    [kl] = session(sys.argv[1]).run(None, {"mean": mean, "logvar": logvar})
    print(kl, np.array_equal(kl, gkl.kl(gkl.DiagNormal(mean, logvar=logvar))))

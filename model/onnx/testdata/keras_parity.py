"""Runs the parity networks in Keras and writes keras_parity.json.

The networks are built here afresh, channels last, from the facts in the paper
(not from the Go code): genotype and input size come from the ONNX file's
metadata, weights by layer name from its tensors.

    go test ./model/onnx -run TestKerasParity -write DIR
    python keras_parity.py DIR keras_parity.json      (pip: tensorflow, onnx)
"""
import json, math, pathlib, sys

import numpy as np
import onnx
from onnx import numpy_helper
from tensorflow import keras
from tensorflow.keras import layers as L


def build(genotype, height, width):
    size = (height + width) / 2
    phi = math.log(size / 224) / math.log(1.15)
    d, w = 1.2**phi, 1.1**phi

    def rounded(f):
        r = max(8, int(f * w + 4) // 8 * 8)
        return r + 8 if r < 0.9 * f * w else r

    def conv(x, name, filters, k=1, s=1, bias=False):
        return L.Conv2D(filters, k, s, padding="same", use_bias=bias, name=name)(x)

    def norm(x, name, act=True):
        x = L.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name + "_bn")(x)
        return L.Activation("swish")(x) if act else x

    inputs = keras.Input((height, width, 3))
    x = norm(conv(inputs, "stem_conv", rounded(32), 3, 2), "stem")
    for stage, (k, repeats, f8, stride) in enumerate(genotype):
        for r in range(math.ceil(d * repeats)):
            name = f"block{stage + 1}{chr(97 + r)}"
            cin, cout, s = x.shape[-1], rounded(8 * f8), stride if r == 0 else 1
            y = x
            if stage > 0:
                y = norm(conv(y, name + "_expand_conv", 6 * cin), name + "_expand")
            y = L.DepthwiseConv2D(k, s, padding="same", use_bias=False, name=name + "_dwconv")(y)
            y = norm(y, name)
            se = L.GlobalAveragePooling2D(keepdims=True)(y)
            se = L.Activation("swish")(conv(se, name + "_se_reduce", max(1, int(0.25 * cin)), bias=True))
            se = L.Activation("sigmoid")(conv(se, name + "_se_expand", y.shape[-1], bias=True))
            y = L.Multiply()([y, se])
            y = norm(conv(y, name + "_project_conv", cout), name + "_project", act=False)
            x = L.Add()([x, y]) if s == 1 and cin == cout else y
    for i in range(3):
        name = f"head_block{i + 1}"
        x = L.Conv2DTranspose(rounded(128), 3, 2, padding="same", use_bias=False, name=name + "_conv")(x)
        x = norm(x, name)
    return keras.Model(inputs, conv(x, "final_conv", 17, bias=True))


def load(net, tensors):
    used = set()
    for layer in net.layers:
        def get(p):
            used.add(f"{layer.name}/{p}")
            return tensors[f"{layer.name}/{p}"]
        if isinstance(layer, L.BatchNormalization):
            layer.set_weights([get(p) for p in ("gamma", "beta", "moving_mean", "moving_variance")])
        elif isinstance(layer, L.DepthwiseConv2D):  # [C,1,k,k] -> [k,k,C,1]
            layer.set_weights([get("kernel").transpose(2, 3, 0, 1)])
        elif isinstance(layer, (L.Conv2D, L.Conv2DTranspose)):
            # Conv [out,in,k,k] -> [k,k,in,out]; transposed [in,out,k,k] -> [k,k,out,in]
            ws = [get("kernel").transpose(2, 3, 1, 0)]
            layer.set_weights(ws + [get("bias")] if layer.use_bias else ws)
    assert used == set(tensors), used ^ set(tensors)


def pictures(n, h, w):
    i, c, y, x = np.meshgrid(np.arange(n), np.arange(3), np.arange(h), np.arange(w), indexing="ij")
    v = np.sin(0.05 * x + 0.3 * c + i) + np.cos(0.07 * y - 0.2 * c - 2 * i) + 0.3 * np.sin(0.9 * (x * y % 101))
    return v.astype(np.float32)


out = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    m = onnx.load(path)
    onnx.checker.check_model(m, full_check=True)
    meta = {p.key: p.value for p in m.metadata_props}
    genotype = [[int(v) for v in s.split(",")] for s in meta["evopose.genotype"].split()]
    h, w = map(int, meta["evopose.input"].split("x"))
    batch = 2 if path.stem in ("s", "odd2") else 1
    net = build(genotype, h, w)
    load(net, {t.name: numpy_helper.to_array(t) for t in m.graph.initializer})
    heat = net(pictures(batch, h, w).transpose(0, 2, 3, 1), training=False).numpy().transpose(0, 3, 1, 2)
    index = np.random.default_rng(1).choice(heat.size, 400 * batch, replace=False)
    out[path.stem] = dict(genotype=meta["evopose.genotype"], input=meta["evopose.input"], batch=batch, parameters=net.count_params(),
                          deviation=float(heat.std()), index=index.tolist(), value=[float(f"{v:.8g}") for v in heat.ravel()[index]])
    print(path.stem, net.count_params(), "std", heat.std(), "of the channels", heat.std(axis=(0, 2, 3)).round(2), "largest", np.abs(heat).max())
pathlib.Path(sys.argv[2]).write_text(json.dumps(out))

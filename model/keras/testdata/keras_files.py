"""Writes Keras files of EvoPose2D networks, and what the networks compute.

    python keras_files.py DIR                 (pip: tensorflow, tf_keras, keras)
    python keras_files.py --golden testdata   the small files that are kept

For each network, built here in the manner of the published files (activations
inside the squeeze-excite convolutions, a Reshape, drop-connect as Dropout), with
random kernels, biases and statistics of batch normalisation:

    NAME.h5               the whole model, by Keras 2 (tf_keras) as in TensorFlow 2.3
    NAME_weights.h5       model.save_weights of Keras 2
    NAME_3.h5             the whole model, by Keras 3 (xs and tiny only)
    NAME_3.weights.h5     model.save_weights of Keras 3 (likewise)
    NAME.json             genotype, input, batch, deviation, files
    NAME.crops, NAME.heatmaps     float32, [n, c, y, x]: what went in and what came out

With --golden the weights are rounded to few bits, the files compressed with gzip,
the crops those of the formula in golden_crops, and the heatmaps in the JSON.
"""
import argparse, gzip, json, math, pathlib

import numpy as np

S = "3,1,2,1 3,3,3,2 5,2,5,2 3,4,10,2 5,2,14,1 5,4,16,1 3,2,10,1"
XS = S.replace("5,4,16,1", "5,4,16,2")
NETWORKS = {
    "s": (S, 256, 192), "xs": (XS, 256, 192), "m": (S, 384, 288), "l": (S, 512, 384),
    "random1": ("5,2,1,1 3,4,2,2 5,1,3,2 3,2,7,2 3,4,11,1 3,1,22,2 5,3,29,1", 256, 192),
    "random2": ("3,3,2,1 5,1,3,2 3,4,4,2 5,2,9,2 5,1,6,2 3,3,15,1 5,1,37,1", 192, 160),
    "random3": ("5,4,2,1 5,2,1,2 5,3,5,2 3,1,3,2 3,2,14,1 5,2,8,1 3,4,18,2", 320, 224),
}
GOLDEN = {"tiny": ("3,1,2,1 5,3,3,2 3,2,1,2 5,4,1,2 3,2,1,1 5,4,1,1 3,2,1,2", 64, 32)}


def scaled(height, width):
    phi = math.log((height + width) / 2 / 224) / math.log(1.15)

    def filters(n):
        want = n * 1.1**phi
        got = max(8, int(want + 4) // 8 * 8)
        return got + 8 if got < 0.9 * want else got

    return filters, lambda n: math.ceil(1.2**phi * n)


class Builder:
    """One network in the given Keras (tf_keras or keras)."""

    def __init__(self, keras):
        self.keras, self.layers = keras, keras.layers

    def conv(self, x, name, filters, kernel=1, stride=1, kind="Conv2D", **more):
        l2 = self.keras.regularizers.L2(1e-5)
        return getattr(self.layers, kind)(filters, kernel, strides=stride, padding="same", kernel_regularizer=l2,
                                          name=name, **{"use_bias": False, **more})(x)

    def normalise(self, x, name, swish=True):
        x = self.layers.BatchNormalization(name=name + "_bn")(x)
        return self.layers.Activation("swish", name=name + "_activation")(x) if swish else x

    def block(self, x, name, expand, kernel, filters, stride, drop):
        into, shortcut = x.shape[-1], x
        if expand > 1:
            x = self.normalise(self.conv(x, name + "_expand_conv", into * expand), name + "_expand")
        x = self.layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=name + "_dwconv")(x)
        x = self.normalise(x, name)
        se = self.layers.GlobalAveragePooling2D(name=name + "_se_squeeze")(x)
        se = self.layers.Reshape((1, 1, x.shape[-1]), name=name + "_se_reshape")(se)
        se = self.conv(se, name + "_se_reduce", max(1, into // 4), use_bias=True, activation="swish")
        se = self.conv(se, name + "_se_expand", x.shape[-1], use_bias=True, activation="sigmoid")
        x = self.layers.Multiply(name=name + "_se_excite")([x, se])
        x = self.normalise(self.conv(x, name + "_project_conv", filters), name + "_project", swish=False)
        if stride == 1 and into == filters:
            if drop > 0:
                x = self.layers.Dropout(drop, noise_shape=(None, 1, 1, 1), name=name + "_drop")(x)
            x = self.layers.Add(name=name + "_add")([x, shortcut])
        return x

    def network(self, genotype, height, width):
        filters, repeats = scaled(height, width)
        inputs = self.layers.Input((height, width, 3))
        x = self.normalise(self.conv(inputs, "stem_conv", filters(32), 3, 2), "stem")
        stages = [[int(v) for v in s.split(",")] for s in genotype.split()]
        blocks = [(i, r) for i, s in enumerate(stages) for r in range(repeats(s[1]))]
        for b, (i, r) in enumerate(blocks):
            kernel, _, eighths, stride = stages[i]
            x = self.block(x, f"block{i + 1}{chr(97 + r)}", 6 if i else 1, kernel, filters(8 * eighths),
                           stride if r == 0 else 1, 0.2 * b / len(blocks))
        for i in (1, 2, 3):
            x = self.normalise(self.conv(x, f"head_block{i}_conv", filters(128), 3, 2, "Conv2DTranspose"), f"head_block{i}")
        return self.keras.Model(inputs, self.conv(x, "final_conv", 17, use_bias=True), name="evopose")


def randomise(net, crops, rng, bits):
    """Draws every weight. Moving statistics are near those of the crops, as training's are: a network far from
    them multiplies rounding errors a hundredfold."""
    norms = [l for l in net.layers if l.__class__.__name__ == "BatchNormalization"]

    def put(layer, weights):
        if bits is not None:
            weights = [np.round(w * 2**bits) / 2**bits for w in weights]
        layer.set_weights([w.astype(np.float32) for w in weights])

    for layer in net.layers:
        if layer in norms:
            c = layer.gamma.shape[0]
            put(layer, [rng.uniform(0.5, 1.5, c), rng.normal(0, 0.4, c), np.zeros(c), np.ones(c)])
            layer.momentum = 0.0
        elif layer.weights:
            shape = layer.weights[0].shape
            fan = shape[0] * shape[1] * (1 if "dwconv" in layer.name else shape[2])
            put(layer, [rng.normal(0, (2 / fan) ** 0.5, shape)] + [rng.normal(0, 0.5, w.shape) for w in layer.weights[1:]])
    net(crops[:1], training=True)
    for n in norms:
        gamma, beta, mean, variance = (np.asarray(w) for w in n.get_weights())
        c = mean.size
        n.momentum = 0.99
        put(n, [gamma, beta, mean + rng.normal(0, 0.1, c) * variance**0.5, variance * rng.uniform(0.8, 1.25, c) + 2.0**-6])


def crops_of(rng, batch, height, width):
    """Normalised pictures: coarse noise and fine noise."""
    coarse = rng.normal(0, 1, (batch, -(-height // 16), -(-width // 16), 3)).repeat(16, 1).repeat(16, 2)
    fine = rng.normal(0, 0.3, (batch, height, width, 3))
    return np.round((coarse[:, :height, :width] + fine) * 32).astype(np.float32) / 32


def golden_crops(rng, batch, height, width):
    """Multiples of 1/32 from -4 to 4, of the place in [n, c, y, x]."""
    i = np.arange(batch * 3 * height * width, dtype=np.uint32)
    v = (i * np.uint32(2654435761) >> np.uint32(24)).astype(np.float32) / 32 - 4
    return v.reshape(batch, 3, height, width).transpose(0, 2, 3, 1)


def write(folder, name, genotype, height, width, golden):
    import keras, tf_keras
    rng = np.random.default_rng(sum(map(ord, name)))
    crops = (golden_crops if golden else crops_of)(rng, 2, height, width)
    net = Builder(tf_keras).network(genotype, height, width)
    randomise(net, crops, rng, 5 if golden else None)
    heatmaps = net(crops, training=False).numpy().transpose(0, 3, 1, 2)
    files = [f"{name}.h5", f"{name}_weights.h5"]
    net.save(folder / files[0], save_format="h5")
    net.save_weights(folder / files[1])
    if golden or name == "xs":
        other = Builder(keras).network(genotype, height, width)
        for a, b in zip(net.layers, other.layers):
            assert a.name == b.name or not a.weights
            b.set_weights(a.get_weights())
        files += [f"{name}_3.h5", f"{name}_3.weights.h5"]
        other.save(folder / files[2])
        other.save_weights(folder / files[3])
    print(name, genotype, net.count_params(), "parameters, heatmaps of deviation", heatmaps.std(), "largest", abs(heatmaps).max(), flush=True)
    return dict(name=name, genotype=genotype, input=f"{height}x{width}", batch=2, parameters=net.count_params(),
                deviation=float(heatmaps.std()), files=files), crops.transpose(0, 3, 1, 2), heatmaps


def main():
    args = argparse.ArgumentParser()
    args.add_argument("folder", type=pathlib.Path, nargs="?")
    args.add_argument("--golden", type=pathlib.Path)
    args = args.parse_args()
    for name, network in GOLDEN.items() if args.golden else ():
        info, _, heatmaps = write(args.golden, name, *network, True)
        info["heatmaps"] = [float(f"{v:.8g}") for v in heatmaps.ravel()]
        for f in info["files"]:
            path = args.golden / f
            (args.golden / (f + ".gz")).write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
            path.unlink()
        (args.golden / f"{name}.json").write_text(json.dumps(info))
    for name, network in NETWORKS.items() if args.folder else ():
        info, crops, heatmaps = write(args.folder, name, *network, False)
        crops.astype("<f4").tofile(args.folder / f"{name}.crops")
        heatmaps.astype("<f4").tofile(args.folder / f"{name}.heatmaps")
        (args.folder / f"{name}.json").write_text(json.dumps(info))


main()

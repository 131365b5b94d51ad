"""Computes one training step of EvoPose2D-S in Keras and writes step.json.

    python step.py step.json        (pip: tensorflow; about a minute, 2 GB)

The network is built here afresh from the facts in the paper, channels last, in
float64. Widths and repeats are those of 256x192, the input is 128x96, the batch
4, drop-connect off. Nothing is read: weights and batch come from the formulas
below, which search/train/golden_test.go repeats.

Numbers. stream(name)[i] is the splitmix64 generator seeded with the 64-bit
FNV-1a hash of the name, its output number i counted from 0; uniform(name)[i] is
its upper 53 bits as a fraction in [0, 1); noise(name)[i] = 2*uniform - 1. Every
value is computed in double precision, then rounded to single.

Weights, by parameter name ("stem_conv/kernel"), i flat in ONNX's layout
(convolution [out, in, k, k], depthwise [c, 1, k, k], transposed [in, out, k, k]):
    kernel            sqrt(s/fan) * noise(name), fan = k*k for a depthwise kernel
                      and k*k*(first dimension) for the others; s is 1 for
                      final_conv and 6 elsewhere: the variances of training's
                      initial weights
    bias, beta, moving_mean        0.1 * noise(name)
    gamma, moving_variance         1 + 0.1 * noise(name)
Batch: image 2 * noise("image"), [n, c, y, x]; keypoint k of picture n, number
j = 17*n + k, at u = (W-1) * uniform("u")[j], v = (H-1) * uniform("v")[j] pixels
of the input, valid where uniform("valid")[j] < 0.8.

The step. Batch normalisation with the batch's mean and variance (divided by the
count, not count-1). Loss: the mean over batch, pixels and keypoints of
valid * (heatmap - target)^2, target = 255 exp(-d^2 / (2 sigma^2)), d from
(floor(u*W_out/W_in + 0.5), floor(v*H_out/H_in + 0.5)), sigma = 2 H_out/64; plus
1e-5 * sum(kernel^2) over all kernels (Keras's L2; no half). Then
keras.optimizers.Adam, rate 2.5e-4, beta 0.9 and 0.999, epsilon 1e-7, whose step
t is  m = .9 m + .1 g,  v = .999 v + .001 g^2,
w -= rate * sqrt(1 - .999^t)/(1 - .9^t) * m / (sqrt(v) + epsilon):  epsilon is
added before the correction of v, so that in step 1 it counts sqrt(1000) times
what it does in the Adam paper and in PyTorch.
Moving statistics: moving = .99 moving + .01 batch, with the same variance.
(Keras 3. The fused operator of TensorFlow, that Keras 2 used, put the variance
divided by count-1 into the moving one.)

step.json: losses, without L2's part, of the first steps, all on the one batch;
loss_l2, L2's part of the first; output, heatmaps of the first forward pass
(training mode) in [n, k, y, x]; and by parameter name, at 8 flat places
stream("at " + name)[0..7] mod length: grad, the first gradient (with L2's part),
grad_norm, the L2 norm of all of it, and after, the value after one step. check
holds the first pixels, all keypoints (rows of u, v, valid) and the first values of
some parameters, for tests of the repetition.

The gradient of nearly every project_bn/beta is 0 in exact arithmetic: what is
constant over a channel does not pass the next pointwise convolution and its batch
normalisation. It is written as 0. In single precision it is rounding noise, of
which Adam makes steps of up to the rate: there, after cannot be compared.
"""
import json, sys

import numpy as np
import tensorflow as tf
import keras
from keras import layers as L, ops

H, W, BATCH, KEYPOINTS, STEPS = 128, 96, 4, 17, 4
L2, RATE, PLACES = 1e-5, 2.5e-4, 8
ZERO = 1e-12  # a smaller gradient is rounding
# Stages: kernel, repeats, filters, stride. At 256x192 both scalings are 1.
S = [(3, 1, 16, 1), (3, 3, 24, 2), (5, 2, 40, 2), (3, 4, 80, 2), (5, 2, 112, 1), (5, 4, 128, 1), (3, 2, 80, 1)]


def stream(name, n):
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(name, n):
    return (stream(name, n) >> np.uint64(11)) * 2.0**-53


def noise(name, n):
    return 2 * uniform(name, n) - 1


def single(values):
    return np.asarray(values).astype(np.float32).astype(np.float64)


def formula(name, shape):
    """The golden value of a parameter, in ONNX's layout."""
    layer, kind = name.split("/")
    x = noise(name, int(np.prod(shape)))
    if kind == "kernel":
        fan = shape[2] * shape[3] * (1 if layer.endswith("_dwconv") else shape[0])
        x = np.sqrt((1.0 if layer == "final_conv" else 6.0) / fan) * x
    elif kind in ("gamma", "moving_variance"):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return single(x).reshape(shape)


def build(height, width):
    reg = keras.regularizers.L2(L2)
    reg.l2 = np.float64(L2)  # Keras casts Python numbers by way of single precision, arrays not

    def conv(x, name, filters, k=1, s=1, bias=False):
        return L.Conv2D(filters, k, s, "same", use_bias=bias, kernel_regularizer=reg, name=name)(x)

    def norm(x, name, act=True):
        x = L.BatchNormalization(epsilon=1e-3, momentum=0.99, name=name + "_bn")(x)
        return ops.silu(x) if act else x

    def block(x, name, expand, k, filters, stride):
        cin, y = x.shape[-1], x
        if expand > 1:
            y = norm(conv(y, name + "_expand_conv", expand * cin), name + "_expand")
        y = L.DepthwiseConv2D(k, stride, "same", use_bias=False, depthwise_regularizer=reg, name=name + "_dwconv")(y)
        y = norm(y, name)
        z = ops.mean(y, axis=(1, 2), keepdims=True)
        z = ops.silu(conv(z, name + "_se_reduce", max(1, cin // 4), bias=True))
        y = y * ops.sigmoid(conv(z, name + "_se_expand", y.shape[-1], bias=True))
        y = norm(conv(y, name + "_project_conv", filters), name + "_project", act=False)
        return x + y if stride == 1 and cin == filters else y

    inputs = keras.Input((height, width, 3))
    x = norm(conv(inputs, "stem_conv", 32, 3, 2), "stem")
    for i, (k, repeats, filters, stride) in enumerate(S):
        for r in range(repeats):
            x = block(x, f"block{i + 1}{'abcd'[r]}", 6 if i else 1, k, filters, stride if r == 0 else 1)
    for i in range(3):
        name = f"head_block{i + 1}"
        x = L.Conv2DTranspose(128, 3, 2, "same", use_bias=False, kernel_regularizer=reg, name=name + "_conv")(x)
        x = norm(x, name)
    return keras.Model(inputs, conv(x, "final_conv", KEYPOINTS, bias=True))


def parameters(net):
    """Parameter name -> (Keras variable, function between its layout and ONNX's, both ways)."""
    found = {}
    for layer in net.layers:
        for v in layer.weights:
            to, back = (lambda a: a), (lambda a: a)
            if isinstance(layer, L.DepthwiseConv2D):
                to, back = (lambda a: a.transpose(2, 3, 0, 1)), (lambda a: a.transpose(2, 3, 0, 1))
            elif v.name == "kernel":  # (k, k, in, out), transposed convolutions (k, k, out, in)
                to, back = (lambda a: a.transpose(3, 2, 0, 1)), (lambda a: a.transpose(2, 3, 1, 0))
            found[layer.name + "/" + v.name.removeprefix("depthwise_")] = v, to, back
    return found


def batch():
    """Images (channels last), targets [n, y, x, k], valid [n, 1, 1, k], and the labels: rows of u, v, valid."""
    images = single(2 * noise("image", BATCH * 3 * H * W)).reshape(BATCH, 3, H, W)
    n = BATCH * KEYPOINTS
    u, v = single((W - 1) * uniform("u", n)), single((H - 1) * uniform("v", n))
    valid = (uniform("valid", n) < 0.8).astype(np.float64)
    h, w = H // 2, W // 2
    cx, cy = np.floor(u * w / W + 0.5), np.floor(v * h / H + 0.5)
    d2 = (np.arange(h)[None, :, None] - cy[:, None, None]) ** 2 + (np.arange(w)[None, None, :] - cx[:, None, None]) ** 2
    targets = 255 * np.exp(-d2 / (2 * (2 * h / 64) ** 2))
    by_keypoint = lambda a, *shape: a.reshape(BATCH, KEYPOINTS, *shape).transpose(0, 2, 3, 1)
    return images.transpose(0, 2, 3, 1), by_keypoint(targets, h, w), by_keypoint(valid, 1, 1), np.stack((u, v, valid), -1)


def step(net, optimizer, images, targets, valid):
    with tf.GradientTape() as tape:
        out = net(images, training=True)
        data = ops.mean(valid * (out - targets) ** 2)
        l2 = ops.sum(ops.stack(net.losses))
        loss = data + l2
    grads = tape.gradient(loss, [v.value for v in net.trainable_variables])
    optimizer.apply(grads, net.trainable_variables)
    return out, data, l2, grads


def places(name, a):
    return a.ravel()[(stream("at " + name, PLACES) % np.uint64(a.size)).astype(int)]


def numbers(a, digits):
    return [float(f"%.{digits}g" % x) for x in np.ravel(a)]


def golden(dtype="float64"):
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    net = build(H, W)
    params = parameters(net)
    for name, (v, to, back) in params.items():
        v.assign(back(formula(name, to(v.numpy()).shape)))
    images, targets, valid, labels = batch()
    optimizer = keras.optimizers.Adam(RATE, beta_1=np.float64(0.9), beta_2=np.float64(0.999), epsilon=1e-7)
    feed = [tf.constant(a, dtype) for a in (images, targets, valid)]
    out, data, l2, grads = step(net, optimizer, *feed)
    grads = {v.path: g.numpy() for v, g in zip(net.trainable_variables, grads)}
    tensors = {}
    for name, (v, to, _) in params.items():
        tensors[name] = t = {"after": numbers(places(name, to(v.numpy())), 10)}
        if v.trainable:
            g = to(grads[v.path])
            if np.linalg.norm(g) < ZERO:
                g = 0 * g
            t["grad"], t["grad_norm"] = numbers(places(name, g), 8), float(np.linalg.norm(g))
    losses = [float(data)] + [float(step(net, optimizer, *feed)[1]) for _ in range(1, STEPS)]
    check = {"image": numbers(images.transpose(0, 3, 1, 2).ravel()[:4], 10), "keypoints": numbers(labels, 10)}
    for name in ("stem_conv/kernel", "block1a_dwconv/kernel", "head_block1_conv/kernel", "final_conv/kernel", "final_conv/bias", "stem_bn/gamma"):
        v, to, _ = params[name]
        check[name] = numbers(formula(name, to(v.numpy()).shape).ravel()[:4], 10)
    return {"losses": losses, "loss_l2": float(l2),
            "output": numbers(places("output", out.numpy().transpose(0, 3, 1, 2)), 10),
            "check": check, "tensors": tensors}


if __name__ == "__main__":
    g = golden()
    with open(sys.argv[1], "w") as f:  # one line a tensor
        head = ",\n".join(f'"{k}": {json.dumps(g[k])}' for k in ("losses", "loss_l2", "output"))
        rows = lambda d: "{\n" + ",\n".join(f'"{k}": {json.dumps(d[k])}' for k in d) + "\n}"
        f.write("{\n" + head + ',\n"check": ' + rows(g["check"]) + ',\n"tensors": ' + rows(g["tensors"]) + "\n}\n")

"""Writes the golden files of this folder, compressed, with h5py and Keras.

    python make.py          # the h5py files
    python make.py keras    # and the two Keras files

The values follow formulas that hdf5_test.go repeats: ramp(n)[i] = i * 0.5 - 3.
"""
import gzip
import os
import sys

import h5py
import numpy as np


def ramp(*shape, dtype="<f4"):
    n = int(np.prod(shape))
    return (np.arange(n) * 0.5 - 3).reshape(shape).astype(dtype)


def types(f):
    """One small dataset of every element type."""
    for name in ["<f2", "<f4", "<f8", ">f2", ">f4", ">f8"]:
        f["float/" + {"<": "le", ">": "be"}[name[0]] + name[1:]] = ramp(3, 4, dtype=name)
    for name in ["<i1", "<i2", "<i4", "<i8", ">i2", ">i4", ">i8"]:
        f["int/" + {"<": "le", ">": "be"}[name[0]] + name[1:]] = (np.arange(5) - 2).astype(name)
    for name in ["<u1", "<u2", "<u4", "<u8", ">u2", ">u8"]:
        f["uint/" + {"<": "le", ">": "be"}[name[0]] + name[1:]] = np.arange(5).astype(name)
    f["bool"] = np.array([True, False, True])
    f["scalar"] = np.float32(2.5)
    f["string/fixed"] = np.array([b"one", b"three"])
    f.create_dataset("string/variable", data=["eins", "drei", ""], dtype=h5py.string_dtype())
    f.create_dataset("empty", data=h5py.Empty("<f4"))
    f.create_dataset("none", shape=(0, 3), dtype="<f4")


def storage(f):
    """Every layout and filter; the shapes are no multiples of the chunks."""
    f["contiguous"] = ramp(5, 7)
    f.create_dataset("unwritten", shape=(3, 2), dtype="<f4", fillvalue=1.5)
    f.create_dataset("unwritten_chunks", shape=(5, 3), dtype="<f4", chunks=(2, 2), fillvalue=-2)
    compact(f, "compact", ramp(4, 3))
    add = lambda name, shape, **kw: f.create_dataset(name, data=ramp(*shape), **kw)
    add("single", (5, 7), chunks=(5, 7))
    add("single_gzip", (5, 7), chunks=(5, 7), compression="gzip")
    add("fixed", (5, 7), chunks=(2, 3))
    add("fixed_3d", (3, 4, 5), chunks=(2, 3, 2), compression="gzip", shuffle=True)
    add("gzip", (5, 7), chunks=(2, 3), compression="gzip", compression_opts=9)
    add("shuffle", (5, 7), chunks=(2, 3), shuffle=True)
    add("fletcher", (5, 7), chunks=(2, 3), fletcher32=True)
    add("all", (5, 7), chunks=(2, 3), compression="gzip", shuffle=True, fletcher32=True)
    add("extensible", (5, 7), chunks=(2, 3), maxshape=(None, 7))
    add("extensible_gzip", (90, 2), chunks=(1, 2), maxshape=(None, 2), compression="gzip")
    add("two_unlimited", (5, 7), chunks=(2, 3), maxshape=(None, None))
    add("extensible_second", (5, 7), chunks=(2, 3), maxshape=(6, None))
    early(f, "implicit", ramp(5, 7), (2, 3))
    add("bounded", (5, 7), chunks=(2, 3), maxshape=(9, 8))
    add("many", (40, 60), chunks=(2, 3), compression="gzip")
    half = f.create_dataset("partly", shape=(6, 6), dtype="<f4", chunks=(2, 2), fillvalue=9)
    half[0:2, 0:2] = ramp(2, 2)
    half[4:6, 4:6] = ramp(2, 2)


def compact(f, name, data):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    low_level(f, name, data, plist)


def early(f, name, data, chunks):
    """Chunks allocated when the dataset is made: the implicit index of the latest format."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(chunks)
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    low_level(f, name, data, plist)


def low_level(f, name, data, plist):
    space = h5py.h5s.create_simple(data.shape)
    d = h5py.h5d.create(f.id, name.encode(), h5py.h5t.py_create(data.dtype), space, plist)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, data)


def attributes(f):
    f.attrs["scalar"] = 2.5
    f.attrs["integer"] = np.int32(-7)
    f.attrs["vector"] = ramp(4, dtype="<f8")
    f.attrs["matrix"] = ramp(2, 3, dtype=">f4")
    f.attrs["text"] = "Größe"
    f.attrs["bytes"] = np.bytes_(b"fixed")
    f.attrs["names"] = [b"stem_conv", b"b1"]
    f.attrs.create("variable", ["a", "", "long " * 20], dtype=h5py.string_dtype())
    f.attrs["long"] = '{"class_name": "Functional"}' * 200
    f.attrs["empty"] = h5py.Empty("<f4")
    d = f.create_dataset("group/data", data=ramp(2))
    for i in range(20):  # more than 8: dense storage in the latest format
        d.attrs["a%02d" % i] = float(i)
    for i in range(8):
        f["group"].attrs["w%d" % i] = "weight %d" % i


def huge(f):
    """Attributes that are dense in the latest format, one of them a huge object."""
    for i in range(70):
        f.attrs["a%02d" % i] = np.arange(i + 1, dtype="<i4")
    if f.libver[0] != "earliest":
        f.attrs["huge"] = np.zeros(70000, dtype="S1")
        f.attrs["model_config"] = '{"class_name": "Functional"}' * 3000


def groups(f, many, **kw):
    """Nested groups, one of many links, a cycle of hard links, soft and external links."""
    f["a/b/c/deep"] = ramp(2)
    wide = f.create_group("wide", **kw)
    for i in range(many):
        wide["kernel:%03d" % i] = np.float32(i)
    few = f.create_group("few", **kw)
    few["x"] = ramp(1)
    f["a/b/up"] = f["a"]
    f["soft"] = h5py.SoftLink("/a/b/c/deep")
    f["dangling"] = h5py.SoftLink("/nowhere")
    f["external"] = h5py.ExternalLink("other.h5", "/x")


def write(name, what, *args, **kw):
    with h5py.File(name, "w", **kw) as f:
        what(f, *args)
    compress(name)


def compress(name):
    with open(name, "rb") as plain, open(name + ".gz", "wb") as out:
        with gzip.GzipFile("", "wb", 9, out, mtime=0) as z:
            z.write(plain.read())
    os.remove(name)


def main():
    for version, libver in [("v0", "earliest"), ("v2", ("v108", "v108")), ("v3", "latest")]:
        for what in [types, storage, attributes, huge]:
            write("%s_%s.h5" % (what.__name__, version), what, libver=libver)
        write("groups_%s.h5" % version, groups, 60, libver=libver)
    write("ordered.h5", lambda f: groups(f, 12, track_order=True), track_order=True)
    write("userblock.h5", lambda f: f.create_dataset("x", data=ramp(3)), userblock_size=1024)
    write("small_v0.h5", small, libver="earliest")
    write("small_v3.h5", small, libver="latest")
    write("named.h5", named)
    write("bomb.h5", bomb)
    write("pages.h5", pages, libver="latest")


def small(f):
    """The file that the tests cut and damage at every byte."""
    f.attrs["text"] = "ab"
    f.create_dataset("g/x", data=ramp(2, 3), chunks=(2, 2), compression="gzip", shuffle=True, fletcher32=True)
    f["g"].attrs["names"] = [b"x"]


def pages(f):
    """Chunk indices so large that they have pages, some of which are not written."""
    f.create_dataset("fixed", data=ramp(2101), chunks=(1,))
    d = f.create_dataset("fixed_partly", shape=(5000,), dtype="<f4", chunks=(1,), fillvalue=7)
    d[2500:2510] = ramp(10)
    d = f.create_dataset("extensible", shape=(200_000,), dtype="u1", chunks=(1,), maxshape=(None,))
    d[199_000:199_010] = 1 + np.arange(10)


def bomb(f):
    """80 MB of zeros in 80 kB."""
    n = 20_000_000
    f.create_dataset("zeros", data=np.zeros(n, "<f4"), chunks=(n,), compression="gzip", compression_opts=9)


def named(f):
    """A committed datatype, and types that are not supported."""
    f["type"] = np.dtype(">f4")
    f.create_dataset("committed", data=ramp(3), dtype=f["type"])
    f.attrs.create("committed", 1.5, dtype=f["type"])
    f["compound"] = np.zeros(2, dtype=[("x", "<f4"), ("y", "<i2")])
    f["reference"] = np.array([f["committed"].ref], dtype=h5py.ref_dtype)
    f["long"] = np.zeros(2, dtype=np.longdouble)
    f["complex"] = np.zeros(2, dtype="<c8")
    f.attrs["compound"] = np.zeros(2, dtype=[("x", "<f4"), ("y", "<i2")])
    f.create_dataset("lzf", data=ramp(4), chunks=(4,), compression="lzf")


def keras():
    import keras

    keras.utils.set_random_seed(1)
    x = keras.Input((4, 4, 3), name="image")
    y = keras.layers.Conv2D(2, 3, padding="same", name="stem_conv")(x)
    y = keras.layers.BatchNormalization(name="stem_bn")(y)
    y = keras.layers.DepthwiseConv2D(3, name="depthwise")(y)
    model = keras.Model(x, y, name="small")
    model.set_weights([ramp(*w.shape) for w in model.get_weights()])
    for name in ["keras.h5", "keras.weights.h5"]:
        save = model.save_weights if "weights" in name else model.save
        save(name)
        compress(name)


if __name__ == "__main__":
    main()
    if "keras" in sys.argv:
        keras()

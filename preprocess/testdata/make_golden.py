"""Makes the golden files of package preprocess, from nothing but arithmetic.

Run in this folder: python make_golden.py
Needs numpy, scipy, Pillow and OpenCV (made with 2.4.6, 1.17.1, 13.0.0, 5.0.0).

decode/*          pictures of every format, bit depth, colour model, orientation
decode.json       for each: size, tolerance, place of its expected pixels
decode.rgb.gz     expected pixels, upright 8-bit RGB, one picture after another:
                  by Pillow (libjpeg-turbo, libwebp) for lossy files, else by numpy
                  from the pixels that were written
crop.json         boxes and input size; the picture is decode/png-rgb8.png
crop.f32.gz       for each box the crop, NCHW float32: first by SciPy's
                  map_coordinates in float64, then by cv2.warpAffine
"""

import gzip
import io
import json
import os
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageOps
from scipy.ndimage import map_coordinates

W, H = 45, 31  # odd, so that chroma and blocks end half-way
cases, pixels = [], []


def scene(channels=3, depth=255):
    """A picture that is smooth in most places, with an edge and some grain."""
    y, x = np.mgrid[0:H, 0:W] / 31.0
    planes = [
        0.5 + 0.4 * np.sin(3.1 * x + 1.7 * y + phase) * np.cos(2.3 * y - phase)
        for phase in (0.3, 1.9, 4.0, 5.1)[:channels]
    ]
    out = np.stack(planes, -1)
    out[(x - 0.9) ** 2 + (y - 0.5) ** 2 < 0.06] = (0.85, 0.25, 0.15, 0.1)[:channels]
    out += 0.02 * np.random.default_rng(7).standard_normal(out.shape)
    return np.floor(np.clip(out, 0, 1) * depth + 0.5).astype(np.uint16 if depth > 255 else np.uint8)


def alpha(depth=255):
    y, x = np.mgrid[0:H, 0:W]
    return np.clip((x - 5) * depth // 30, 0, depth).astype(np.uint16 if depth > 255 else np.uint8)


def over_white(rgb, a, depth=255):
    """8-bit RGB, rounded once."""
    f = a.astype(np.float64)[..., None] / depth
    return np.floor((rgb / depth * f + 1 - f) * 255 + 0.5).astype(np.uint8)


def add(name, data, expected, tolerance=0, mean=0.0):
    """tolerance: largest difference of a sample; mean: of the mean of |difference|."""
    os.makedirs("decode", exist_ok=True)
    with open("decode/" + name, "wb") as f:
        f.write(data)
    expected = np.ascontiguousarray(np.asarray(expected, np.uint8))
    cases.append(dict(file=name, width=expected.shape[1], height=expected.shape[0],
                      tolerance=tolerance, mean=mean))
    pixels.append(expected.tobytes())


def saved(image, kind, **options):
    b = io.BytesIO()
    image.save(b, kind, **options)
    return b.getvalue()


def pillow(data):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        return over_white(rgba[..., :3].astype(float), rgba[..., 3])
    return np.asarray(image.convert("RGB"))


# --- PNG, written here because Pillow writes few depths ---

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_rows(samples, depth):
    """Rows of packed samples, each after filter type 0."""
    rows = []
    for row in samples.reshape(samples.shape[0], -1):
        if depth == 16:
            packed = row.astype(">u2").tobytes()
        elif depth == 8:
            packed = row.astype(np.uint8).tobytes()
        else:
            bits = ((row[:, None] >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
            packed = np.packbits(bits.reshape(-1)).tobytes()
        rows.append(b"\0" + packed)
    return b"".join(rows)


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png(samples, depth, colour, extra=b"", interlace=False):
    h, w = samples.shape[:2]
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlace))
    if interlace:
        body = b"".join(png_rows(samples[y::dy, x::dx], depth) for x, y, dx, dy in ADAM7
                        if samples[y::dy, x::dx].size)
    else:
        body = png_rows(samples, depth)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra
            + chunk(b"IDAT", zlib.compress(body, 9)) + chunk(b"IEND", b""))


def grey3(v, depth):
    return np.repeat(np.floor(v[..., None] * 255.0 / depth + 0.5).astype(np.uint8), 3, -1)


def make_png():
    rgb, rgb16 = scene(), scene(depth=65535)
    a, a16 = alpha(), alpha(65535)
    add("png-rgb8.png", png(rgb, 8, 2), rgb)
    add("png-rgb8-interlaced.png", png(rgb, 8, 2, interlace=True), rgb)
    add("png-rgb16.png", png(rgb16, 16, 2), np.floor(rgb16 * 255.0 / 65535 + 0.5))
    add("png-rgb16-interlaced.png", png(rgb16, 16, 2, interlace=True), np.floor(rgb16 * 255.0 / 65535 + 0.5))
    add("png-rgba8.png", png(np.dstack([rgb, a]), 8, 6), over_white(rgb, a))
    add("png-rgba16.png", png(np.dstack([rgb16, a16]), 16, 6), over_white(rgb16, a16, 65535))
    for depth in (1, 2, 4, 8, 16):
        top = (1 << depth) - 1
        v = scene(1, 65535)[..., 0] >> (16 - depth)
        add(f"png-grey{depth}.png", png(v, depth, 0), grey3(v, top))
    for depth in (8, 16):
        top = (1 << depth) - 1
        v, t = scene(1, top)[..., 0], alpha(top)
        add(f"png-greyalpha{depth}.png", png(np.dstack([v, t]), depth, 4),
            over_white(np.repeat(v[..., None], 3, -1), t, top))
        # one value is transparent
        key = int(v[10, 10])
        add(f"png-grey{depth}-key.png", png(v, depth, 0, chunk(b"tRNS", struct.pack(">H", key))),
            np.where((v == key)[..., None], 255, grey3(v, top)))
    for depth in (1, 4, 8):
        n = 1 << depth
        palette = np.random.default_rng(n).integers(0, 256, (n, 3), dtype=np.uint8)
        index = scene(1, 65535)[..., 0] >> (16 - depth)
        plte = chunk(b"PLTE", palette.tobytes())
        add(f"png-palette{depth}.png", png(index, depth, 3, plte), palette[index])
        trns = np.linspace(0, 255, n - 1).astype(np.uint8)  # one entry less than colours
        full = np.append(trns, 255)
        add(f"png-palette{depth}-alpha.png", png(index, depth, 3, plte + chunk(b"tRNS", trns.tobytes())),
            over_white(palette[index], full[index]))


# --- JPEG ---

def segments(data):
    """The header segments of a JPEG up to its scan, and the rest."""
    at, out = 2, []
    while data[at + 1] != 0xDA:
        n = struct.unpack(">H", data[at + 2:at + 4])[0]
        out.append(data[at:at + 2 + n])
        at += 2 + n
    return out, data[at:]


def rebuilt(data, drop, first=b""):
    """The JPEG without the markers in drop, and with first after SOI."""
    head, rest = segments(data)
    return data[:2] + first + b"".join(s for s in head if s[1] not in drop) + rest


def adobe(transform):
    return b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([transform])


def ink_to_rgb(ink):
    ink = ink.astype(np.float64) / 255
    return np.floor((1 - ink[..., :3]) * (1 - ink[..., 3:]) * 255 + 0.5)


def make_jpeg():
    image = Image.fromarray(scene())
    # Decoders differ by rounding in the inverse DCT and in colour conversion.
    loose = dict(tolerance=3, mean=0.15)
    for name, options in dict(
        baseline=dict(subsampling="4:4:4"), optimised=dict(optimize=True, subsampling="4:2:0"),
        restart=dict(subsampling="4:2:0", restart_marker_blocks=1),
        progressive=dict(progressive=True, subsampling="4:2:0"),
        progressive444=dict(progressive=True, subsampling="4:4:4"),
    ).items():
        data = saved(image, "JPEG", quality=90, **options)
        add(f"jpeg-{name}.jpg", data, pillow(data), **loose)
    bgr = scene()[..., ::-1]
    for ratio in ("420", "422", "440", "411"):
        factor = getattr(cv2, "IMWRITE_JPEG_SAMPLING_FACTOR_" + ratio)
        ok, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor])
        assert ok
        add(f"jpeg-{ratio}.jpg", data.tobytes(), pillow(data.tobytes()), **loose)
    for name, options in dict(grey={}, greyprogressive=dict(progressive=True)).items():
        data = saved(image.convert("L"), "JPEG", quality=90, **options)
        add(f"jpeg-{name}.jpg", data, pillow(data), **loose)

    cmyk = saved(Image.fromarray(scene(4), "CMYK"), "JPEG", quality=95, subsampling="4:4:4")
    ink = np.asarray(Image.open(io.BytesIO(cmyk)))  # Pillow undoes Adobe's inversion
    add("jpeg-cmyk.jpg", cmyk, ink_to_rgb(ink), **loose)
    # Without Adobe's marker what is stored is ink.
    add("jpeg-cmyk-plain.jpg", rebuilt(cmyk, {0xEE}), ink_to_rgb(255 - ink), **loose)
    # YCCK: luma and chroma of the inks cyan, magenta and yellow; black inverted.
    ink = scene(4)
    ycc = np.asarray(Image.fromarray(ink[..., :3]).convert("YCbCr"))
    stored = np.dstack([255 - ycc, ink[..., 3:]])  # Pillow inverts when it saves
    data = saved(Image.fromarray(stored, "CMYK"), "JPEG", quality=95, subsampling="4:4:4")
    data = rebuilt(data, {0xEE}, adobe(2))
    add("jpeg-ycck.jpg", data, ink_to_rgb(np.asarray(Image.open(io.BytesIO(data)))), **loose)
    # RGB, not converted: the encoder is told that R, G, B are luma and chroma.
    data = saved(Image.fromarray(scene(), "YCbCr"), "JPEG", quality=95, subsampling="4:4:4")
    data = rebuilt(data, {0xE0, 0xEE}, adobe(0))
    add("jpeg-rgb.jpg", data, pillow(data), **loose)
    for o in range(1, 9):
        exif = Image.Exif()
        exif[0x010F], exif[0x0112] = "EvoPose", o
        data = saved(image, "JPEG", quality=90, subsampling="4:4:4", exif=exif)
        add(f"jpeg-orientation{o}.jpg", data, pillow(data), **loose)


# --- WebP and GIF ---

def make_webp():
    rgb = scene()
    image, rgba = Image.fromarray(rgb), Image.fromarray(np.dstack([rgb, alpha()]))
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, source, options in (
        ("lossy", image, dict(quality=85)), ("lossy-alpha", rgba, dict(quality=85)),
        ("lossless", image, dict(lossless=True)),
        ("lossless-alpha", rgba, dict(lossless=True, exact=True)),
        ("lossy-orientation6", image, dict(quality=85, exif=exif)),
        ("lossless-orientation6", image, dict(lossless=True, exif=exif)),
    ):
        data = saved(source, "WebP", **options)
        lossy = name.startswith("lossy")
        add(f"webp-{name}.webp", data, pillow(data), tolerance=1 if lossy else 0, mean=0.1 if lossy else 0.0)
    for o in (3, 6):
        exif[0x0112] = o
        data = saved(image, "PNG", exif=exif)
        add(f"png-orientation{o}.png", data, pillow(data))


def make_gif():
    frame = Image.fromarray(scene()).quantize(32)
    plain = saved(frame, "GIF", interlace=False)
    rgb = np.asarray(frame.convert("RGB"))
    add("gif-plain.gif", plain, rgb)
    add("gif-interlaced.gif", saved(frame, "GIF", interlace=True), rgb)
    second = Image.fromarray(scene()[::-1].copy()).quantize(32)
    add("gif-animated.gif", saved(frame, "GIF", save_all=True, append_images=[second], duration=50), rgb)
    index = np.asarray(frame)
    key = int(index[15, 20])
    add("gif-transparent.gif", saved(frame, "GIF", transparency=key),
        np.where((index == key)[..., None], 255, rgb))
    # The same frame at (3, 2) of a canvas of 60 x 40.
    colours = 2 << (plain[10] & 7)
    at = plain.index(b"\x2c", 13 + 3 * colours)
    placed = bytearray(plain)
    struct.pack_into("<HH", placed, 6, 60, 40)
    struct.pack_into("<HH", placed, at + 1, 3, 2)
    canvas = np.full((40, 60, 3), 255, np.uint8)
    canvas[2:2 + H, 3:3 + W] = rgb
    add("gif-placed.gif", bytes(placed), canvas)


# --- crops ---

BOXES = [
    [10, 5, 12, 20], [0, 0, W, H], [3.3, 2.7, 30.1, 11.9], [-10, -8, 25, 30], [30, 20, 40, 40],
    [20, 10, 1, 15], [20.5, 10.25, 1, 1], [-30, -30, 20, 20], [-500, -300, 1100, 700],
    [44, 0, 5, 31], [0, 30, 45, 5], [7, 9, 9.6, 12.8], [12.34, 5.67, 8.9, 17.1],
]


def make_crops():
    ih, iw = 16, 12
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    normal = (scene() / 255.0 - mean) / std
    scipy_crops, cv_crops = [], []
    for x, y, w, h in BOXES:
        aspect = iw / ih
        height = max(h, w / aspect)
        s = 1.25 * height / ih
        left, top = x + w / 2 - s * iw / 2, y + h / 2 - s * ih / 2
        v, u = np.mgrid[0:ih, 0:iw].astype(np.float64)
        places = [top + s * v, left + s * u]
        # grid-constant: neighbours outside are 0, also where the sample is
        # less than a pixel outside.
        scipy_crops.append(np.stack([
            map_coordinates(normal[..., c], places, order=1, mode="grid-constant", cval=0) for c in range(3)]))
        m = np.array([[s, 0, left], [0, s, top]])
        out = cv2.warpAffine(normal.astype(np.float32), m, (iw, ih),
                             flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                             borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        cv_crops.append(out.transpose(2, 0, 1))
    a, b = np.array(scipy_crops, "<f4"), np.array(cv_crops, "<f4")
    print("warpAffine against map_coordinates: max %.5f, mean %.6f" % (np.abs(a - b).max(), np.abs(a - b).mean()))
    with open("crop.json", "w") as f:
        json.dump(dict(height=ih, width=iw, boxes=BOXES), f)
        f.write("\n")
    compress("crop.f32.gz", a.tobytes() + b.tobytes())


def compress(name, data):
    with open(name, "wb") as f:
        f.write(gzip.compress(data, 9, mtime=0))


if __name__ == "__main__":
    make_png()
    make_jpeg()
    make_webp()
    make_gif()
    make_crops()
    with open("decode.json", "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
    compress("decode.rgb.gz", b"".join(pixels))

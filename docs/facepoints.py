"""Adds MoveNet's face points to labels that have none, to train on.

    (the packages and tqdm, and movenet-thunder.json, as in movenet.py)
    python facepoints.py package/models/movenet-thunder.json train.json train with-faces.json

For everyone with a labelled shoulder and hip and no labelled face point.
MoveNet sees the upper body, turned upright by the labels: once in a square of 2
and, mirrored, once of 2.6 torso lengths. A face point is the mean of both,
where it is in the picture, they agree to --apart of the torso, and their mean
score is --score or more.
"""

import argparse
import json
import os
import pathlib
from concurrent import futures

import cv2
import numpy as np
import tqdm

from movenet import find, load, read

FACE = 5
SHOULDERS, HIPS = slice(5, 7), slice(11, 13)


def middle(points):
    """The mean of the labelled ones of x, y, v; None where there are none."""
    labelled = points[points[:, 2] > 0, :2]
    return labelled.mean(axis=0) if len(labelled) else None


def torso(points):
    """The middle of the shoulders and the vector there from that of the hips."""
    shoulders, hips = middle(points[SHOULDERS]), middle(points[HIPS])
    if shoulders is None or hips is None or np.hypot(*(shoulders - hips)) < 8:
        return None
    return shoulders, shoulders - hips


def to_crop(points, shoulders, up, lengths, size):
    """2x3 matrix from the picture to a square crop around the shoulders in
    which the vector up points upwards; the crop's side is in lengths of up, or
    of 1.2 times the shoulders' width where that is longer."""
    angle = np.arctan2(up[0], -up[1])
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    length = np.hypot(*up)
    if (points[SHOULDERS, 2] > 0).all():
        length = max(length, 1.2 * np.hypot(*(points[5, :2] - points[6, :2])))
    k = size / (lengths * length)
    centre = turn @ shoulders + [0, 0.1 * length]
    return np.column_stack([k * turn, size / 2 - k * centre])


def face(session, image, points, least, apart):
    """The face points as x, y, v; v = 0 where they are not sure."""
    out = np.zeros((FACE, 3))
    body = torso(points)
    if body is None:
        return out
    shoulders, up = body
    size = session.get_inputs()[0].shape[1]
    a = find(session, image, to_crop(points, shoulders, up, 2.0, size))[:FACE]
    b = find(session, image, to_crop(points, shoulders, up, 2.6, size), mirrored=True)[:FACE]
    xy, score = np.split((a + b) / 2, [2], axis=1)
    height, width = image.shape[:2]
    sure = (score[:, 0] >= least) & (np.hypot(*(a - b)[:, :2].T) <= apart * np.hypot(*up))
    sure &= (xy >= 0).all(axis=1) & (xy[:, 0] < width) & (xy[:, 1] < height)
    out[sure, :2], out[sure, 2] = xy[sure].round(2), 2
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", type=pathlib.Path)
    p.add_argument("labels", type=pathlib.Path)
    p.add_argument("images", type=pathlib.Path)
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--score", type=float, default=0.4)
    p.add_argument("--apart", type=float, default=0.1)
    args = p.parse_args()

    data = json.loads(args.labels.read_text())
    names = {i["id"]: i["file_name"] for i in data["images"]}
    session = load(args.model, args.out.parent, threads=1)

    def label(a):
        points = np.array(a["keypoints"], float).reshape(-1, 3)
        if (points[:FACE, 2] > 0).any():
            return 0
        points[:FACE] = face(session, read(args.images / names[a["image_id"]]), points, args.score, args.apart)
        a["keypoints"] = points.ravel().tolist()
        a["num_keypoints"] = int((points[:, 2] > 0).sum())
        return int((points[:FACE, 2] > 0).sum())

    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        added = list(tqdm.tqdm(pool.map(label, data["annotations"]), total=len(data["annotations"]), unit=" people"))
    args.out.write_text(json.dumps(data))
    print(f"{sum(added)} face points for {np.count_nonzero(added)} of {len(added)} people")


if __name__ == "__main__":
    main()

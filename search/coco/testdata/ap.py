"""Writes cases of labels, results and the figures that pycocotools gives them.

    pip install pycocotools
    python ap.py ANNOTATIONS.json OUT [--images 10] [--seeds 4]

OUT/ap-SEED.json each hold real labels of ANNOTATIONS (those in this folder: of
COCO val2017, (c) COCO Consortium, CC BY 4.0), altered so that every rule of the
evaluation is met, and results that are the labels disturbed.
"""

import argparse
import contextlib
import copy
import io
import json
import pathlib

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def choose(data, rng, images):
    """A part of the data set, coordinates rounded."""
    part = [data["images"][i] for i in rng.permutation(len(data["images"]))[:images]]
    ids = {i["id"] for i in part}
    people = [copy.deepcopy(a) for a in data["annotations"] if a["image_id"] in ids]
    for a in people:
        a["keypoints"] = [round(v) for v in a["keypoints"]]
        a["bbox"] = [round(v) for v in a["bbox"]]
        a.pop("segmentation", None)
    return {"images": [{k: i[k] for k in ("id", "file_name", "width", "height")} for i in part],
            "annotations": people, "categories": [{"id": 1, "name": "person"}]}


def alter_labels(gt, rng):
    """Crowds, people without keypoints, contradictions, twins, areas at the
    limits, pictures without labels."""
    people = gt["annotations"]
    for a in people:
        kind = rng.integers(0, 16)
        if kind == 0:
            a["iscrowd"] = 1
        elif kind == 1:
            a["keypoints"], a["num_keypoints"] = [0] * 51, 0
        elif kind == 2:
            a["iscrowd"], a["keypoints"], a["num_keypoints"] = 1, [0] * 51, 0
        elif kind == 3:
            a["num_keypoints"] = 0  # though some are labelled
        elif kind == 4:
            a["keypoints"] = [0] * 51  # though num_keypoints says otherwise
        elif kind == 5:
            a["area"] = float(rng.choice([0, 32**2, 96**2, 32**2 - 1, 1e10, 1e10 + 1e6]))
    for a in [people[i] for i in rng.permutation(len(people))[:2]]:
        people.append(copy.deepcopy(a) | {"id": max(p["id"] for p in people) + 1})
    empty = gt["images"][0]["id"]
    gt["annotations"] = [a for a in people if a["image_id"] != empty]
    return people


def result(a, rng, spread):
    k = np.array(a["keypoints"], float).reshape(17, 3)
    x, y, w, h = a["bbox"]
    unlabelled = k[:, 2] == 0
    k[unlabelled, :2] = np.array([x, y]) + rng.random((unlabelled.sum(), 2)) * [w, h]
    k[:, :2] += rng.normal(0, 1, (17, 2)) * spread * np.sqrt(max(w * h, 1))
    k[:, 2] = rng.random(17)
    return {"image_id": a["image_id"], "category_id": 1, "keypoints": k.round(1).ravel().tolist(),
            "score": round(float(rng.random()), int(rng.integers(1, 4)))}  # with ties


def results(people, gt, rng):
    """Good and bad results, nobody for some, several for others, one place
    twice, strangers, more than 20 in a picture."""
    found = []
    for a in people:
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            found.append(result(a, rng, rng.choice([0, 0.02, 0.05, 0.1, 0.3])))
    found += [copy.deepcopy(found[i]) for i in rng.permutation(len(found))[:3]]
    for a in [people[i] for i in rng.permutation(len(people))[:4]]:
        stranger = result(a, rng, 0.1)
        stranger["image_id"] = int(rng.choice([i["id"] for i in gt["images"]]))
        found.append(stranger)
    most = people[int(rng.integers(len(people)))]
    found += [result(most, rng, 0.08) for _ in range(23)]
    return [found[i] for i in rng.permutation(len(found))]


def stats(gt, found):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(gt)
        truth.createIndex()
        e = COCOeval(truth, truth.loadRes(copy.deepcopy(found)), "keypoints")
        e.evaluate()
        e.accumulate()
        e.summarize()
    return [float(s) for s in e.stats]


def case(data, seed, images):
    rng = np.random.default_rng(seed)
    gt = choose(data, rng, images)
    people = alter_labels(gt, rng)
    found = results(people, gt, rng)
    if seed % 4 == 3:  # nobody large: figures without anything to measure
        for a in gt["annotations"]:
            a["area"] = min(a["area"], 9000)
    return {"dataset": gt, "results": found, "stats": stats(gt, found)}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("annotations")
    p.add_argument("out", type=pathlib.Path)
    p.add_argument("--images", type=int, default=10)
    p.add_argument("--seeds", type=int, default=4)
    o = p.parse_args()
    data = json.load(open(o.annotations))
    for seed in range(o.seeds):
        c = case(data, seed, o.images)
        (o.out / f"ap-{seed}.json").write_text(json.dumps(c, separators=(",", ":")) + "\n")
        print(seed, [round(s, 4) for s in c["stats"]])


if __name__ == "__main__":
    main()

"""Writes oks.json, the expected values of TestOKSAgreesWithPycocotools.

Random pairs of people, with pycocotools' own object keypoint similarity of
each. Unlabelled keypoints have a score of 0. Run: pip install pycocotools,
python oks.py
"""
import json
import pathlib
import types

import numpy as np
from pycocotools.cocoeval import COCOeval

rng = np.random.default_rng(7)
pairs = []
for i in range(24):
    area = float(np.round(10 ** rng.uniform(1, 5.5), 2))
    truth = np.round(rng.uniform(0, 400, (17, 2)), 2)
    found = np.round(truth + rng.normal(size=(17, 2)) * np.sqrt(area) * rng.uniform(0.01, 0.4), 2)
    labelled = (rng.uniform(size=17) < rng.uniform(0.2, 1.2)).astype(int)
    labelled[i % 17] = 1
    # The ground truth and the detection as computeOks wants them.
    gt = {"keypoints": np.c_[truth, 2 * labelled].ravel().tolist(), "area": area, "bbox": [0, 0, 400, 400]}
    dt = {"keypoints": np.c_[found, np.ones(17)].ravel().tolist(), "score": 1}
    p = COCOeval(iouType="keypoints").params
    fake = types.SimpleNamespace(params=p, _gts={(1, 1): [gt]}, _dts={(1, 1): [dt]})
    oks = float(COCOeval.computeOks(fake, 1, 1)[0, 0])
    pairs.append({"area": area, "oks": round(oks, 9), "labelled": labelled.tolist(),
                  "truth": truth.tolist(), "found": found.tolist()})
out = pathlib.Path(__file__).with_name("oks.json")
out.write_text("[\n" + ",\n".join(json.dumps(p) for p in pairs) + "\n]\n")

"""Writes the golden files with NumPy, safetensors and PyTorch.

    pip install numpy safetensors torch && python golden.py

Element i, in C order, of tensor number t has the value (i - 7 t) / 8, which
every precision holds exactly. The test has the same formula.
"""

import collections
import json

import numpy as np
import torch
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import save_file as save_torch

META = {"evopose.name": "gölden", "note": "a \"text\""}


def values(t, *shape):
    n = int(np.prod(shape))
    return ((np.arange(n) - 7 * t) / 8).reshape(shape).astype(np.float32)


plain = {
    "conv/kernel": values(0, 4, 3, 2, 2),
    "conv/bias": values(1, 4),
    "half/kernel": values(2, 2, 3).astype(np.float16),
    "double/kernel": values(3, 2, 3).astype(np.float64),
    "scalar": values(4),
    "empty": np.zeros((0, 3), np.float32),
    "steps": np.arange(3),  # not floating point
}

npz = plain | {
    "fortran/kernel": np.asfortranarray(values(5, 2, 3, 4)),
    "big/kernel": values(6, 2, 3).astype(">f4"),
    "objects": np.array([{"a": 1}, None], dtype=object),
}
np.savez("golden.npz", **npz, __metadata__=np.array(json.dumps(META)))
np.savez_compressed("compressed.npz", **plain)
save_numpy(plain, "golden.safetensors", metadata=META)
save_torch({"brain": torch.from_numpy(values(0, 2, 3)).bfloat16()}, "bfloat16.safetensors")

base = torch.from_numpy(values(0, 4, 3, 2, 2))
state = collections.OrderedDict(
    {
        "conv.weight": base,
        "conv.bias": torch.nn.Parameter(torch.from_numpy(values(1, 4))),
        "norm.weight": torch.from_numpy(values(2, 3)).half(),
        "norm.bias": torch.from_numpy(values(3, 3)).double(),
        "norm.running_mean": torch.from_numpy(values(4, 3)).bfloat16(),
        "norm.running_var": torch.from_numpy(values(5, 3)),
        "norm.num_batches_tracked": torch.tensor(12),
        "permuted.weight": torch.from_numpy(np.ascontiguousarray(values(6, 2, 3, 4).transpose(2, 0, 1))).permute(1, 2, 0),
        "slice.weight": base[1:3, :, 1],  # a view of the storage of conv.weight
        "scalar": torch.from_numpy(values(7)),
    }
)
torch.save(state, "state.pt")
torch.save(state, "legacy.pth", _use_new_zipfile_serialization=False)
for protocol in 3, 4, 5:
    torch.save(state, f"protocol{protocol}.pt", pickle_protocol=protocol)
torch.save({"epoch": 3, "model_state_dict": state, "best": 0.5, "args": {"lr": 1e-3, "sizes": [1, (2, 3), {4}], "big": 1 << 70}}, "checkpoint.pt")

# A whole module: classes that are not known.
torch.save(torch.nn.Conv2d(3, 4, 2), "module.pt")

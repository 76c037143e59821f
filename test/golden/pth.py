"""Writes pth/*.pth by PyTorch, and pth/expected.json with what is in them, which test/pth.test.ts must read.

Run with any Python that has torch:  python3 test/golden/pth.py
"""
import collections
import json
import os
import pathlib

import torch
from torch import nn

folder = pathlib.Path(__file__).parent / "pth"
expected = {}
torch.manual_seed(0)


def write(name, value, flat=None):
    torch.save(value, folder / f"{name}.pth")
    if flat is not None:
        expected[name] = {
            key: {"shape": list(t.shape), "values": t.detach().double().flatten().tolist()} for key, t in flat.items()
        }


model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
write("state", model.state_dict(), model.state_dict())

dtypes = {
    "f32": torch.tensor([1.5, -0.1]),
    "f64": torch.tensor([1.5, 2.0**-130], dtype=torch.float64),
    "f16": torch.tensor([1.5, 65504, 6e-8], dtype=torch.float16),
    "bf16": torch.tensor([1.5, 3e38], dtype=torch.bfloat16),
    "i64": torch.tensor([[1, -(2**24)]], dtype=torch.int64),
    "i32": torch.tensor(7, dtype=torch.int32),
    "u8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
}
write("dtypes", dtypes, dtypes)

base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
strided = {
    "base": base,
    "transposed": base.t(),
    "part": base[1:3, 2:5],
    "steps": base[::2, ::3],
    "row": base[3],
    "expanded": base[0, :1].expand(3),
    "scalar": base[2, 4],
}
write("strided", strided, strided)

optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
model(torch.ones(1, 3)).sum().backward()
optimizer.step()
write(
    "checkpoint",
    {"epoch": 3, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "parameter": nn.Parameter(base[0])},
    {
        **{f"model.{k}": v for k, v in model.state_dict().items()},
        **{f"optimizer.state.{i}.momentum_buffer": s["momentum_buffer"] for i, s in optimizer.state_dict()["state"].items()},
        "parameter": base[0],
    },
)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/tapegrad-was-here",)


write("evil", collections.OrderedDict(weight=Evil()))
write("whole-module", nn.Linear(2, 1))
write("too-large-integer", {"n": torch.tensor([2**24 + 1])})
write("too-large-double", {"x": torch.tensor([1e300], dtype=torch.float64)})
write("single", torch.ones(2))
write("complex", {"z": torch.ones(2, dtype=torch.complex64)})
torch.save(model.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
(folder / "expected.json").write_text(json.dumps(expected, indent=1))

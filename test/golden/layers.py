"""Writes layers.json: layers and losses of PyTorch in float64, which test/golden-layers.test.ts must meet, and
pth/layers.pth, a state dict for test/layer-files.test.ts.

A case is a module with its arguments in our spelling, its state, and calls in training or evaluation mode: inputs, output,
gradients of inputs and parameters; and the state after all calls. A function is a case without a state.

Run with any Python that has torch:  python3 test/golden/layers.py
"""
import json
import pathlib

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
F = nn.functional


def packed(t):
    return {"shape": list(t.shape), "values": [float(f"{float(v):.8g}") for v in t.detach().flatten()]}


def given(value):
    """An argument as JSON; tensors are marked."""
    if isinstance(value, torch.Tensor):
        return {"tensor": packed(value)}
    if isinstance(value, dict):
        return {k: given(v) for k, v in value.items()}
    return value


def randomize(module):
    for p in module.parameters():
        with torch.no_grad():
            p.copy_(torch.rand(p.shape) * 2 - 1)


def leaves(inputs):
    return [t.clone().requires_grad_(t.is_floating_point()) for t in inputs]


def weighted(out):
    return (out * torch.linspace(0.5, 1.5, out.numel()).reshape(out.shape)).sum()


def call(f, inputs, training, parameters):
    own = leaves(inputs)
    for p in parameters.values():
        p.grad = None
    out = f(*own)
    if out.requires_grad:
        weighted(out).backward()
    return {
        "training": training,
        "inputs": [packed(t) for t in inputs],
        "output": packed(out),
        "gradients": [packed(t.grad) if t.grad is not None else None for t in own],
        "parameterGradients": {k: packed(p.grad) for k, p in parameters.items() if p.grad is not None},
    }


cases = []


def module(name, args, made, *calls):
    """`calls` are tuples of inputs; None before one switches to evaluation mode."""
    randomize(made)
    for b, value in made.named_buffers():
        if "running" in b:
            value.copy_(torch.rand(value.shape) + 0.5)
    state = {k: packed(v) for k, v in made.state_dict().items()}
    done = []
    for inputs in calls:
        training = inputs[0] is not None
        made.train(training)
        done.append(call(made, [t for t in inputs if t is not None], training, dict(made.named_parameters())))
    end = {k: packed(v) for k, v in made.state_dict().items()}
    cases.append({"kind": "module", "name": name, "args": [given(a) for a in args], "state": state, "calls": done, "end": end})


def function(name, args, f, *inputs):
    cases.append({"kind": "function", "name": name, "args": [given(a) for a in args], "calls": [call(f, inputs, True, {})]})


def draw(*shape, low=-2.0, high=2.0):
    return torch.rand(*shape) * (high - low) + low


# Normalization.
module("LayerNorm", [5], nn.LayerNorm(5), (draw(3, 5),), (draw(2, 2, 5),))
module("LayerNorm", [[3, 4], {"eps": 0.1}], nn.LayerNorm([3, 4], eps=0.1), (draw(2, 3, 4),))
module("LayerNorm", [5, {"bias": False}], nn.LayerNorm(5, bias=False), (draw(3, 5),))
module("LayerNorm", [5, {"elementwiseAffine": False}], nn.LayerNorm(5, elementwise_affine=False), (draw(3, 5),))
module("LayerNorm", [1], nn.LayerNorm(1), (draw(3, 1),))
module("RMSNorm", [5, {"eps": 1e-6}], nn.RMSNorm(5, eps=1e-6), (draw(3, 5),))
module("RMSNorm", [[2, 3], {"eps": 0.1, "elementwiseAffine": False}], nn.RMSNorm([2, 3], eps=0.1, elementwise_affine=False), (draw(2, 2, 3),))
module("GroupNorm", [2, 6], nn.GroupNorm(2, 6), (draw(3, 6),), (draw(2, 6, 4),))
module("GroupNorm", [3, 6, {"eps": 0.1}], nn.GroupNorm(3, 6, eps=0.1), (draw(2, 6, 2, 3),))
module("GroupNorm", [6, 6, {"affine": False}], nn.GroupNorm(6, 6, affine=False), (draw(2, 6, 3),))
for kind, shapes in (("BatchNorm1d", [(4, 3), (2, 3, 5)]), ("BatchNorm2d", [(2, 3, 2, 3)])):
    make = getattr(nn, kind)
    inputs = [(draw(*s),) for s in shapes]
    eval_inputs = [(None, draw(*s)) for s in shapes]
    module(kind, [3], make(3), *inputs, *inputs, *eval_inputs)
    module(kind, [3, {"momentum": None, "eps": 0.1}], make(3, momentum=None, eps=0.1), *inputs, *inputs, *eval_inputs)
    module(kind, [3, {"momentum": 0.3, "affine": False}], make(3, momentum=0.3, affine=False), *inputs, *eval_inputs)
    module(kind, [3, {"trackRunningStats": False}], make(3, track_running_stats=False), *inputs, *eval_inputs)

# Activation functions.
wide = draw(3, 4, low=-4.0, high=7.0)
for name, args, made in (
    ("GELU", [], nn.GELU()),
    ("GELU", [{"approximate": "tanh"}], nn.GELU(approximate="tanh")),
    ("SiLU", [], nn.SiLU()),
    ("Mish", [], nn.Mish()),
    ("LeakyReLU", [], nn.LeakyReLU()),
    ("LeakyReLU", [0.2], nn.LeakyReLU(0.2)),
    ("ELU", [0.7], nn.ELU(0.7)),
    ("ReLU6", [], nn.ReLU6()),
    ("Softplus", [{"beta": 2.0, "threshold": 3.0}], nn.Softplus(2.0, 3.0)),
    ("Softmax", [1], nn.Softmax(1)),
    ("LogSoftmax", [-2], nn.LogSoftmax(-2)),
):
    module(name, args, made, (wide,))

# Embedding.
ids = torch.tensor([[0, 3, 3], [1, 4, 0]])
module("Embedding", [5, 3], nn.Embedding(5, 3), (ids,), (torch.tensor(2),))
module("Embedding", [5, 3, {"paddingIdx": 0}], nn.Embedding(5, 3, padding_idx=0), (ids,))
module("Embedding", [5, 3, {"paddingIdx": -2}], nn.Embedding(5, 3, padding_idx=-2), (ids,))
function("oneHot", [5], lambda t: F.one_hot(t, 5).double(), ids)
function("dropout", [0.0], lambda t: F.dropout(t, 0.0), draw(3, 2))
function("dropout", [1.0], lambda t: F.dropout(t, 1.0), draw(3, 2))

# Losses.
reductions = ["mean", "sum", "none"]


def loss(name, python, *inputs, **options):
    """The class, with options in Python's and our spelling."""
    spelling = {"ignore_index": "ignoreIndex", "label_smoothing": "labelSmoothing", "pos_weight": "posWeight", "log_target": "logTarget"}
    ours = {spelling.get(k, k): given(v) for k, v in options.items()}
    made = python(**options)
    cases.append({"kind": "loss", "name": name, "args": [ours], "calls": [call(made, inputs, True, {})]})


a, b = draw(3, 4), draw(3, 4)
far = torch.tensor([[0.0, 1.0, -3.0], [2.0, 0.5, 0.25]])
near = torch.tensor([[0.0, 2.5, -1.0], [1.0, 0.0, 0.5]])
for r in reductions:
    loss("L1Loss", nn.L1Loss, far, near, reduction=r)
    loss("SmoothL1Loss", nn.SmoothL1Loss, far, near, reduction=r)
    loss("HuberLoss", nn.HuberLoss, far, near, reduction=r)
loss("SmoothL1Loss", nn.SmoothL1Loss, a, b, beta=0.7)
loss("SmoothL1Loss", nn.SmoothL1Loss, a, b, beta=0.0)
loss("HuberLoss", nn.HuberLoss, a, b, delta=0.7)
log = F.log_softmax(draw(3, 4), 1)
share = F.softmax(draw(3, 4), 1)
hard = torch.tensor([[1.0, 0, 0, 0], [0, 0.5, 0, 0.5], [0.25, 0.25, 0.25, 0.25]])
for r in [*reductions, "batchmean"]:
    loss("KLDivLoss", nn.KLDivLoss, log, share, reduction=r)
    loss("KLDivLoss", nn.KLDivLoss, log, share.log(), reduction=r, log_target=True)
cases.append({"kind": "loss", "name": "KLDivLoss", "args": [{"reduction": "sum"}], "calls": [call(lambda t: nn.KLDivLoss(reduction="sum")(t, hard), [log], True, {})]})
cases[-1]["calls"][0]["inputs"].append(packed(hard))
cases[-1]["calls"][0]["gradients"].append(None)
p, t = draw(3, 4, low=0.05, high=0.95), draw(3, 4, low=0.0, high=1.0)
w = draw(4, low=0.2, high=2.0)
for r in reductions:
    loss("BCELoss", nn.BCELoss, p, t, weight=w, reduction=r)
    loss("BCEWithLogitsLoss", nn.BCEWithLogitsLoss, a, t, pos_weight=w, reduction=r)
    loss("BCEWithLogitsLoss", nn.BCEWithLogitsLoss, a, t, weight=draw(3, 1, low=0.2, high=2.0), reduction=r)
loss("BCEWithLogitsLoss", nn.BCEWithLogitsLoss, a * 20, t, weight=w, pos_weight=torch.tensor(3.0))
labels = torch.tensor([0, 3, 1, 3, 2])
some = torch.tensor([0, -100, 1, 3, -100])
x = draw(5, 4)
for python, name, logits in ((nn.CrossEntropyLoss, "CrossEntropyLoss", x), (nn.NLLLoss, "NLLLoss", F.log_softmax(x, 1))):
    for r in reductions:
        loss(name, python, logits, labels, reduction=r)
        loss(name, python, logits, labels, weight=w, reduction=r)
        loss(name, python, logits, some, reduction=r)
        loss(name, python, logits, labels, weight=w, ignore_index=3, reduction=r)
        loss(name, python, draw(2, 3, 4), torch.tensor([[0, 1, 2, 2], [1, 1, 0, -100]]), reduction=r)
    loss(name, python, draw(2, 3, 2, 2), torch.randint(0, 3, (2, 2, 2)), weight=w[:3])
    loss(name, python, draw(4), torch.tensor(2))
    loss(name, python, draw(4), torch.tensor(2), reduction="none")
for r in reductions:
    loss("CrossEntropyLoss", nn.CrossEntropyLoss, x, labels, label_smoothing=0.2, reduction=r)
    loss("CrossEntropyLoss", nn.CrossEntropyLoss, x, some, label_smoothing=0.2, weight=w, reduction=r)
    loss("CrossEntropyLoss", nn.CrossEntropyLoss, x, F.softmax(draw(5, 4), 1), reduction=r)
    loss("CrossEntropyLoss", nn.CrossEntropyLoss, x, F.softmax(draw(5, 4), 1), label_smoothing=0.1, weight=w, reduction=r)
    loss("CrossEntropyLoss", nn.CrossEntropyLoss, draw(2, 3, 4), F.softmax(draw(2, 3, 4), 1), weight=w[:3], reduction=r)
loss("CrossEntropyLoss", nn.CrossEntropyLoss, draw(4), F.softmax(draw(4), 0))
loss("CrossEntropyLoss", nn.CrossEntropyLoss, draw(2, 3, 4), torch.tensor([[0, 1, 2, 2], [1, 1, 0, 2]]), label_smoothing=0.3)

function("cosineSimilarity", [], lambda s, q: F.cosine_similarity(s, q), draw(3, 4), draw(3, 4))
function("cosineSimilarity", [0], lambda s, q: F.cosine_similarity(s, q, dim=0), draw(3, 4), draw(3, 1))
function("cosineSimilarity", [-1, {"eps": 2.0}], lambda s, q: F.cosine_similarity(s, q, dim=-1, eps=2.0), draw(2, 3), draw(2, 3))
function("layerNorm", [[2, 3]], lambda s: F.layer_norm(s, [2, 3]), draw(2, 2, 3))
function("rmsNorm", [3, {"eps": 1e-5}], lambda s: F.rms_norm(s, [3], eps=1e-5), draw(2, 2, 3))
function("batchNorm", [None, None, {"training": True, "eps": 0.01}], lambda s: F.batch_norm(s, None, None, training=True, eps=0.01), draw(4, 2, 3))
function("groupNorm", [2, {"weight": w, "bias": w + 1}], lambda s: F.group_norm(s, 2, w, w + 1), draw(3, 4, 2))

target = pathlib.Path(__file__).with_name("layers.json")
target.write_text(json.dumps({"torch": torch.__version__, "cases": cases}, separators=(",", ":")) + "\n")
print(target.stat().st_size)

# A checkpoint with buffers, and what the model computes in evaluation mode.
torch.set_default_dtype(torch.float32)
model = nn.Sequential(nn.Embedding(6, 4, padding_idx=0), nn.Flatten(), nn.BatchNorm1d(8), nn.LayerNorm(8), nn.Linear(8, 2))
randomize(model)
for _ in range(3):
    model(torch.randint(0, 6, (5, 2)))
model.eval()
example = torch.tensor([[0, 5], [1, 2], [3, 3]])
checkpoint = {**model.state_dict(), "input": example, "output": model(example).detach()}
torch.save(checkpoint, target.parent / "pth" / "layers.pth")

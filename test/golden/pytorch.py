"""Writes pytorch.json: values, gradients and training trajectories by PyTorch, which test/golden.test.ts must meet.

Run with any Python that has torch:  python3 test/golden/pytorch.py
"""
import json
import pathlib

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)


def numbers(t):
    return [round(float(v), 9) if abs(float(v)) < 1e-3 else float(f"{float(v):.9g}") for v in t.detach().flatten()]


def packed(t):
    return {"shape": list(t.shape), "values": numbers(t)}


def case(name, call, *inputs, **arguments):
    leaves = [t.clone().requires_grad_(t.is_floating_point()) for t in inputs]
    out = call(*leaves)
    weights = torch.linspace(0.5, 1.5, out.numel()).reshape(out.shape)
    (out * weights).sum().backward()
    return {
        "name": name,
        "arguments": arguments,
        "inputs": [packed(t.float()) for t in inputs],
        "output": packed(out),
        "gradients": [packed(t.grad) if t.is_floating_point() else None for t in leaves],
    }


def draw(*shape, low=-2.0, high=2.0):
    return torch.rand(*shape) * (high - low) + low


x, y = draw(3, 4), draw(3, 4)
positive = draw(3, 4, low=0.1, high=3.0)
probabilities, targets = draw(6, low=0.02, high=0.98), draw(6, low=0.0, high=1.0)
logits, classes = draw(5, 4), torch.tensor([0, 3, 1, 2, 2])
F = nn.functional
cases = [
    *[case(n, lambda t, n=n: getattr(torch, n)(t), x) for n in ("neg", "exp", "abs", "relu", "sigmoid", "tanh")],
    *[case(n, lambda t, n=n: getattr(torch, n)(t), positive) for n in ("log", "sqrt")],
    *[case(n, lambda a, b, n=n: getattr(torch, n)(a, b), x, draw(4)) for n in ("add", "sub", "mul", "maximum", "minimum")],
    case("div", torch.div, x, draw(3, 1, low=0.5, high=2.0)),
    case("pow", torch.pow, positive, draw(4)),
    case("matmul", torch.matmul, draw(3, 4), draw(4, 5)),
    case("matmul", torch.matmul, draw(4), draw(4)),
    case("matmul", torch.matmul, draw(3, 4), draw(4)),
    case("matmul", torch.matmul, draw(4), draw(4, 2)),
    case("matmul", torch.matmul, draw(2, 1, 3, 4), draw(5, 4, 2)),
    case("sum", lambda t: t.sum(1, keepdim=True), x, dim=1, keepdim=True),
    case("mean", lambda t: t.mean((0, 2)), draw(2, 3, 4), dim=[0, 2], keepdim=False),
    case("max", lambda t: t.amax(1), torch.tensor([[1.0, 3.0, 3.0], [2.0, -1.0, 0.0]]), dim=1, keepdim=False),
    case("min", lambda t: t.amin(0), x, dim=0, keepdim=False),
    case("softmax", lambda t: t.softmax(1), x, dim=1),
    case("softmax", lambda t: t.softmax(0), x, dim=0),
    case("logSoftmax", lambda t: t.log_softmax(-1), x, dim=-1),
    case("linear", F.linear, draw(3, 4), draw(2, 4), draw(2)),
    *[case("mseLoss", lambda a, b, r=r: F.mse_loss(a, b, reduction=r), x, y, reduction=r) for r in ("mean", "sum", "none")],
    *[case("crossEntropy", lambda a, b, r=r: F.cross_entropy(a, b, reduction=r), logits, classes, reduction=r) for r in ("mean", "sum", "none")],
]


def losses_with_constant_target(name, call):
    found = []
    for reduction in ("mean", "sum", "none"):
        source = probabilities if name == "bceLoss" else draw(6, low=-4.0, high=4.0)
        entry = case(name, lambda a, r=reduction: call(a, targets, reduction=r), source, reduction=reduction)
        entry["inputs"].append(packed(targets))
        entry["gradients"].append(None)
        found.append(entry)
    return found


cases += losses_with_constant_target("bceLoss", F.binary_cross_entropy)
cases += losses_with_constant_target("bceWithLogitsLoss", F.binary_cross_entropy_with_logits)
edge = case("bceLoss", lambda a: F.binary_cross_entropy(a, torch.tensor([0.0, 1.0, 1.0, 0.0])), torch.tensor([0.0, 1.0, 0.0, 1.0]), reduction="mean")
edge["inputs"].append(packed(torch.tensor([0.0, 1.0, 1.0, 0.0])))
edge["gradients"].append(None)
cases.append(edge)

rules = {
    "plain": {"lr": 0.05},
    "momentum": {"lr": 0.05, "momentum": 0.9},
    "nesterov": {"lr": 0.05, "momentum": 0.9, "nesterov": True},
    "weightDecay": {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1},
    "dampening": {"lr": 0.05, "momentum": 0.9, "dampening": 0.3},
}
camel = {"weight_decay": "weightDecay"}
inputs, labels = draw(12, 6), torch.randint(0, 3, (12,))
trajectories = []
for name, rule in rules.items():
    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    start = {key: packed(value) for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), **rule)
    seen = []
    for _ in range(20):
        loss = F.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(float(loss.detach()))
    trajectories.append({
        "name": name,
        "options": {camel.get(key, key): value for key, value in rule.items()},
        "inputs": packed(inputs),
        "labels": packed(labels.float()),
        "start": start,
        "losses": seen,
        "end": {key: packed(value) for key, value in model.state_dict().items()},
    })

target = pathlib.Path(__file__).with_name("pytorch.json")
head = {"writtenBy": "test/golden/pytorch.py", "torch": torch.__version__}
target.write_text(json.dumps({**head, "cases": cases, "trajectories": trajectories}, separators=(",", ":")) + "\n")
print(f"{len(cases)} cases, {len(trajectories)} trajectories by torch {torch.__version__}")

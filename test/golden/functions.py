"""Writes functions.json: element-wise functions, where, clamp and masks in float64, with gradients, from PyTorch 2.13.

Run with: python test/golden/functions.py
Each case has its inputs, the result, and the gradients of the sum of result times weights, where the weights are 1, 2, 3 ... / 4.
"""
import json, math, os
import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)
torch.manual_seed(16)
cases = []


def case(name, fn, *inputs, args=None, grad=True):
    xs = [torch.as_tensor(v, dtype=torch.float64).requires_grad_(grad) for v in inputs]
    y = fn(*xs)
    y = y.to(torch.float64)
    grads = None
    if grad:
        w = torch.arange(1, y.numel() + 1).reshape(y.shape) / 4
        gs = torch.autograd.grad((y * w).sum(), xs, allow_unused=True)
        grads = [None if g is None else g.flatten().tolist() for g in gs]
    plain = lambda t: [v if math.isfinite(v) else str(v) for v in t.flatten().tolist()]
    cases.append({"name": name, "args": args, "inputs": [{"shape": list(x.shape), "values": plain(x.detach())} for x in xs],
                  "shape": list(y.shape), "values": plain(y.detach()), "gradients": grads})


x = torch.linspace(-4.3, 4.1, 24).reshape(4, 6)
pos = torch.linspace(0.05, 9, 24).reshape(4, 6)
halves = torch.tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.3, -0.7])
for n in ["sin", "cos", "erf", "square", "expm1"]:
    case(n, getattr(torch, n), x)
for n in ["floor", "ceil", "round", "sign"]:
    case(n, getattr(torch, n), x)
    case(n, getattr(torch, n), halves)
case("rsqrt", torch.rsqrt, pos)
case("log1p", torch.log1p, pos - 0.9)
for n, f in [("gelu", F.gelu), ("silu", F.silu), ("softplus", F.softplus)]:
    case(n, f, x * 2)
case("gelu", lambda t: F.gelu(t, approximate="tanh"), x * 2, args=[{"approximate": "tanh"}])
corner = torch.tensor([-3.0, -1.0, 0.0, 0.5, 6.0, 7.0, 30.0, -0.25])
for n, f, args in [
    ("nn.gelu", F.gelu, []), ("nn.gelu", lambda t: F.gelu(t, approximate="tanh"), [{"approximate": "tanh"}]),
    ("nn.silu", F.silu, []), ("nn.mish", F.mish, []), ("nn.relu6", F.relu6, []),
    ("nn.leakyRelu", F.leaky_relu, []), ("nn.leakyRelu", lambda t: F.leaky_relu(t, 0.3), [0.3]), ("nn.leakyRelu", lambda t: F.leaky_relu(t, -0.5), [-0.5]),
    ("nn.elu", F.elu, []), ("nn.elu", lambda t: F.elu(t, 0.4), [0.4]),
    ("nn.softplus", F.softplus, []), ("nn.softplus", lambda t: F.softplus(t, beta=2), [{"beta": 2}]),
    ("nn.softplus", lambda t: F.softplus(t, beta=0.5, threshold=2), [{"beta": 0.5, "threshold": 2}]),
    ("nn.softplus", lambda t: F.softplus(t, threshold=3), [{"threshold": 3}]),
]:
    case(n, f, corner, args=args)
    case(n, f, x, args=args)

a, b = torch.randn(2, 3), torch.randn(4, 1, 3)
mask = torch.tensor([[1.0, 0.0, -2.0], [0.0, math.nan, 0.5]])
case("where", lambda p, q: torch.where(mask.bool(), p, q), a, b, args=[mask.nan_to_num(9).tolist()])
case("maskedFill", lambda p: p.masked_fill(mask.bool(), 7.5), b, args=[mask.nan_to_num(9).tolist(), 7.5])
for bounds in [(-0.5, 0.5), (None, 0.5), (0.25, None), (0.5, -0.5)]:
    case("clamp", lambda p: p.clamp(*bounds), torch.tensor([-2, -0.5, 0, 0.25, 0.5, 3]), args=list(bounds))
case("clamp3", torch.clamp, torch.randn(4, 3), torch.randn(3), torch.randn(4, 1))
case("clamp3", torch.clamp, [1.0, 2.0, 3.0], [1.0, 5.0, 0.0], [1.0, 4.0, 3.0])

inf, nan = math.inf, math.nan
e = torch.tensor([0.0, -0.0, 1.0, -1.0, inf, -inf, nan])
p, q = e.repeat_interleave(7), e.repeat(7)
for n, t in [("ge", torch.ge), ("le", torch.le), ("ne", torch.ne), ("logicalAnd", torch.logical_and), ("logicalOr", torch.logical_or)]:
    case(n, t, p, q, grad=False)
for n, t in [("logicalNot", torch.logical_not), ("isNan", torch.isnan), ("isFinite", torch.isfinite), ("sign", torch.sign),
             ("erf", torch.erf), ("expm1", torch.expm1), ("log1p", torch.log1p), ("softplus", F.softplus), ("rsqrt", torch.rsqrt), ("sin", torch.sin),
             ("silu", F.silu), ("round", torch.round), ("square", torch.square), ("nn.elu", F.elu), ("nn.leakyRelu", F.leaky_relu), ("nn.relu6", F.relu6), ("nn.mish", F.mish)]:
    case(n, t, e, grad=False)

path = os.path.join(os.path.dirname(__file__), "functions.json")
with open(path, "w") as f:
    json.dump(cases, f)
    f.write("\n")
print(len(cases), os.path.getsize(path))

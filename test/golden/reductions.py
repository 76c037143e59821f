"""Writes reductions.json: values and gradients of reductions, scans and sorting by PyTorch, which test/reductions.test.ts must meet.

Run with any Python that has torch:  python3 test/golden/reductions.py
"""
import json
import math
import pathlib

import torch

torch.manual_seed(0)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)


def numbers(t):
    return [str(v) if math.isnan(v) or math.isinf(v) else float(f"{v:.9g}") for v in t.detach().flatten().tolist()]


def packed(t):
    return {"shape": list(t.shape), "values": numbers(t)}


def case(name, args, x, call, differentiable=True):
    """args are those of the method in TypeScript; call gives the outputs, of which the first has a gradient."""
    x = x.clone().requires_grad_(differentiable)
    outs = call(x)
    outs = list(outs) if isinstance(outs, (tuple, list)) else [outs]
    result = {"name": name, "args": args, "input": packed(x), "outputs": [packed(o) for o in outs], "gradient": None}
    if differentiable:
        weights = torch.arange(outs[0].numel(), dtype=torch.float64).mul(0.25).add(0.5).reshape(outs[0].shape)
        (outs[0] * weights).sum().backward()
        result["gradient"] = packed(x.grad)
    return result


def draw(*shape):
    return torch.tensor((torch.rand(*shape) * 4 - 2).float().tolist())


cases = []
for dim in (None, 0, -1, [0, 2]):
    d = [] if dim is None else [dim]
    at = [None, dim] if dim is None else [dim]
    kw = {} if dim is None else {"dim": dim}
    x = draw(2, 3, 4)
    for correction in (0, 1, 2.5):
        for name in ("var", "std"):
            call = lambda t: getattr(t, name)(**({"dim": dim} if dim is not None else {"dim": None}), correction=correction)
            cases.append(case(name, [*(d or [None]), {"correction": correction}], x, call))
    for p in (0, 0.5, 1, 2, 3, math.inf, -math.inf, "fro"):
        name = str(p) if isinstance(p, float) and math.isinf(p) else p
        if p == 0:
            cases.append(case("norm", [name, *d], x, lambda t: t.norm(p, dim), False))
        else:
            cases.append(case("norm", [name, *d], x, lambda t: t.norm(p, dim) if p != "fro" else t.norm(2, dim)))
    for name in ("amax", "amin"):
        ties = x.mul(2).round()
        cases.append(case(name, d, ties, lambda t: getattr(t, name)(**({} if dim is None else {"dim": dim}))))
    if dim is not None:
        cases.append(case("logsumexp", d, x, lambda t: t.logsumexp(dim)))
        cases.append(case("logsumexp", [*d, True], x.mul(300), lambda t: t.logsumexp(dim, keepdim=True)))
    if not isinstance(dim, list):
        for y in (x, x.round()):
            cases.append(case("prod", d, y, lambda t: t.prod(**kw)))
        cases.append(case("argmin", d, x, lambda t: t.argmin(**kw), False))
large = draw(3, 50).add(300)
cases.append(case("var", [1], torch.tensor(large.float().tolist()), lambda t: t.var(1)))
cases.append(case("std", [1, {"keepdim": True}], torch.ones(2, 3), lambda t: t.std(1, keepdim=True)))
cases.append(case("norm", [], torch.zeros(3), lambda t: t.norm()))
cases.append(case("norm", [1.5, 1], torch.tensor([[0.0, 0.0], [0.0, 3.0]]), lambda t: t.norm(1.5, 1)))
cases.append(case("norm", [0.5, 1], torch.tensor([[0.0, 0.0], [0.0, 3.0]]), lambda t: t.norm(0.5, 1)))
cases.append(case("norm", [-1, 1], torch.tensor([[0.0, 1.0], [2.0, 3.0]]), lambda t: t.norm(-1, 1)))
inf = math.inf
cases.append(case("logsumexp", [1], torch.tensor([[-inf, -inf], [inf, 1.0], [-inf, 2.0], [math.nan, 1.0]]), lambda t: t.logsumexp(1)))
cases.append(case("prod", [1], torch.tensor([[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [1.0, 2.0, 3.0]]), lambda t: t.prod(1)))
cases.append(case("prod", [], torch.tensor(3.0), lambda t: t.prod()))
for x, dim in ((draw(2, 3, 4), 1), (draw(2, 3, 4), -1), (draw(70), 0), (draw(3, 5), 0), (torch.tensor(2.0), 0)):
    cases.append(case("cumsum", [dim], x, lambda t: t.cumsum(dim)))
special = torch.tensor([3.0, math.nan, 1.0, inf, -inf, 0.0, -0.0, math.nan, 1.0])
for x, dim in ((draw(3, 4), -1), (draw(3, 4), 0), (draw(2, 3, 4), 1), (special, 0), (draw(2, 90).mul(10).round(), 1)):
    for descending in (False, True):
        flag = {"descending": descending}
        ok = not x.isnan().any()
        cases.append(case("sort", [dim, flag], x, lambda t: t.sort(dim=dim, descending=descending, stable=True), bool(ok)))
        cases.append(case("argsort", [dim, flag], x, lambda t: t.argsort(dim=dim, descending=descending, stable=True), False))
for x, k, dim in ((draw(3, 7), 3, -1), (draw(6, 3), 2, 0), (draw(2, 100), 5, 1), (draw(2, 100), 60, 1), (draw(2, 3), 3, 1)):
    for largest in (True, False):
        cases.append(case("topk", [k, dim, {"largest": largest}], x, lambda t: t.topk(k, dim, largest)))

pathlib.Path(__file__).with_name("reductions.json").write_text(
    json.dumps({"torch": torch.__version__, "cases": cases}, separators=(",", ":")) + "\n"
)

"""Writes indexing.json, the values that test/indexing.test.ts compares with: joining, slicing, indexing, einsum and padding,
with gradients, by PyTorch in float64.

    python test/golden/indexing.py

A case has the name of the function, its arguments, its tensors (index tensors are whole numbers without gradients), the result
and the gradients of sum(result * cos(1 + position)). Functions with several results have them in order, each with such a sum.
"""

import json
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F

torch.manual_seed(16)
cases = []


def tensor(*shape):
    return torch.randn(shape, dtype=torch.float64).round(decimals=3).requires_grad_()


def index(values):
    return torch.tensor(values, dtype=torch.int64)


def numbers(x):
    return [float(f"{v:.9g}") for v in x.detach().double().flatten().tolist()]


def plain(x):
    return {"shape": list(x.shape), "values": numbers(x)}


def case(name, args, tensors, fn):
    out = fn(*tensors)
    outs = list(out) if isinstance(out, (tuple, list)) else [out]
    total = 0
    for y in outs:
        weights = torch.cos(1 + torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape)
        total = total + (y * weights).sum()
    total.backward()
    cases.append(
        {
            "name": name,
            "args": args,
            "inputs": [plain(x) for x in tensors],
            "outputs": [plain(y) for y in outs],
            "gradients": [None if x.grad is None else numbers(x.grad) for x in tensors],
        }
    )


for dim, shapes in [
    (0, [(2, 3), (1, 3)]),
    (1, [(2, 3), (2, 1), (2, 2)]),
    (-1, [(2, 2, 1), (2, 2, 3)]),
    (0, [(0,), (2, 2)]),
    (1, [(2, 0, 2), (2, 2, 2)]),
]:
    case("cat", [dim], [tensor(*s) for s in shapes], lambda *x, dim=dim: torch.cat(x, dim))
for dim, shape in [(0, (2, 3)), (1, (2, 3)), (-1, (2, 3)), (0, ())]:
    case("stack", [dim], [tensor(*shape) for _ in range(3)], lambda *x, dim=dim: torch.stack(x, dim))

for equation, shapes in [
    ("ij,jk->ik", [(2, 3), (3, 4)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ba", [(2, 3)]),
    ("bij,bjk->bik", [(2, 3, 4), (2, 4, 2)]),
    ("bhqd,bhkd->bhqk", [(2, 2, 3, 4), (2, 2, 2, 4)]),
    ("...ij,...jk->...ik", [(2, 1, 3, 4), (3, 4, 2)]),
    ("...ij,...jk", [(2, 3, 4), (4, 2)]),
    ("ii->i", [(3, 3)]),
    ("ii", [(3, 3)]),
    ("iij,jj->ij", [(2, 2, 3), (3, 3)]),
    ("iji->j", [(3, 2, 3)]),
    ("i,j->ij", [(2,), (3,)]),
    ("i,i", [(4,), (4,)]),
    ("i,i->i", [(4,), (4,)]),
    ("ij->", [(2, 3)]),
    ("ij->j", [(2, 3)]),
    ("...->", [(2, 3)]),
    ("b...->...b", [(2, 3, 4)]),
    ("a,b,c->cab", [(2,), (3,), (2,)]),
    ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 4)]),
    ("ij,jk,kl,l->i", [(2, 3), (3, 2), (2, 4), (4,)]),
    ("bn,anm,bm->ba", [(2, 3), (4, 3, 2), (2, 2)]),
    ("bxy,xyc->bc", [(2, 3, 2), (3, 2, 4)]),
    ("ij,ij->i", [(2, 3), (2, 3)]),
    ("ij,kl->ik", [(2, 3), (2, 2)]),
    ("ij,j->i", [(2, 1), (3,)]),
    ("ij,ij->ij", [(1, 3), (2, 3)]),
    ("ij,jk->ik", [(2, 3), (1, 4)]),
    (" i j , j -> i ", [(2, 3), (3,)]),
    ("Ab,bA->A", [(2, 3), (3, 2)]),
    ("i...,...->i...", [(2, 3), (3,)]),
    ("ij,jk->ik", [(2, 0), (0, 3)]),
    (",ij->ij", [(), (2, 2)]),
]:
    case("einsum", [equation], [tensor(*s) for s in shapes], lambda *x, e=equation: torch.einsum(e, *x))

for name, args, shape, fn in [
    ("split", [2], (5, 2), lambda x: x.split(2)),
    ("split", [[1, 3, 0], 1], (2, 4), lambda x: x.split([1, 3, 0], 1)),
    ("split", [3, -1], (2, 4), lambda x: x.split(3, -1)),
    ("split", [9], (2, 2), lambda x: x.split(9)),
    ("chunk", [2], (5, 2), lambda x: x.chunk(2)),
    ("chunk", [4, 1], (2, 6), lambda x: x.chunk(4, 1)),
    ("chunk", [3], (2,), lambda x: x.chunk(3)),
    ("flatten", [], (2, 3, 2), lambda x: x.flatten()),
    ("flatten", [1], (2, 3, 2), lambda x: x.flatten(1)),
    ("flatten", [0, -2], (2, 3, 2), lambda x: x.flatten(0, -2)),
    ("flatten", [], (), lambda x: x.flatten()),
    ("repeat", [[2, 3]], (2, 2), lambda x: x.repeat(2, 3)),
    ("repeat", [[2, 1, 3]], (2, 2), lambda x: x.repeat(2, 1, 3)),
    ("repeat", [[3, 1]], (2,), lambda x: x.repeat(3, 1)),
    ("repeat", [[0, 2]], (2, 2), lambda x: x.repeat(0, 2)),
    ("flip", [[0]], (3, 2), lambda x: x.flip(0)),
    ("flip", [[0, -1]], (2, 2, 3), lambda x: x.flip(0, -1)),
    ("roll", [1], (2, 3), lambda x: x.roll(1)),
    ("roll", [-2, 1], (2, 3), lambda x: x.roll(-2, 1)),
    ("roll", [7, 1], (2, 3), lambda x: x.roll(7, 1)),
    ("roll", [[1, -1], [0, 1]], (3, 4), lambda x: x.roll((1, -1), (0, 1))),
    ("tril", [], (3, 3), lambda x: x.tril()),
    ("tril", [1], (2, 3, 4), lambda x: x.tril(1)),
    ("tril", [-1], (4, 2), lambda x: x.tril(-1)),
    ("triu", [], (3, 3), lambda x: x.triu()),
    ("triu", [1], (2, 3, 4), lambda x: x.triu(1)),
    ("triu", [-2], (4, 2), lambda x: x.triu(-2)),
    ("triu", [9], (2, 2), lambda x: x.triu(9)),
]:
    case(name, args, [tensor(*shape)], fn)


def numpy_slice(args):
    """The elements that NumPy picks, by their positions: torch has no negative steps."""
    parts = tuple(... if a == "..." else slice(None) if a is None else slice(*a) if isinstance(a, list) else a for a in args)

    def run(x):
        positions = numpy.arange(x.numel()).reshape(tuple(x.shape))[parts]
        return x.flatten()[torch.from_numpy(numpy.array(positions))]

    return run


for args, shape in [
    ([[0, 2], None, [None, None, -1]], (3, 2, 4)),
    ([1], (3, 2)),
    ([-1, 0], (3, 2)),
    (["...", 0], (3, 2, 2)),
    ([0, "...", [1, None]], (2, 3, 4)),
    ([[-2, None]], (4, 2)),
    ([[None, -1], [None, None, 2]], (3, 5)),
    ([[5, 9]], (3, 2)),
    ([[-9, 9, 2]], (5,)),
    ([[None, None, -2]], (5,)),
    ([[None, None, -2]], (6,)),
    ([[3, 0, -1]], (5,)),
    ([[9, -9, -3]], (5,)),
    ([[0, 3, -1]], (5,)),
    ([[-2, -5, -1], [None, None, -1], 1], (5, 3, 2)),
    ([[2, 1]], (3, 2)),
    ([None, [1, 3, 2]], (2, 4)),
    ([], (2, 2)),
    (["..."], (2, 2)),
    ([[None, None, 3], [None, None, 7]], (7, 3)),
]:
    case("slice", args, [tensor(*shape)], numpy_slice(args))
case("outer", [], [tensor(2), tensor(3)], torch.outer)

for dim, shape, values in [
    (0, (4, 3), [2, 0, 2, 3]),
    (1, (2, 3, 2), [1, 1]),
    (-1, (2, 4), [3, 0, 0, 1, 3]),
    (0, (3,), []),
]:
    case("indexSelect", [dim], [tensor(*shape), index(values)], lambda x, i, d=dim: x.index_select(d, i))
gathers = [
    (0, (3, 2), [[2, 0], [0, 0], [1, 1], [2, 2]]),
    (1, (2, 3), [[2, 0], [0, 0]]),
    (0, (3, 4), [[2, 0, 1]]),
    (-1, (2, 2, 3), [[[2], [0]], [[1], [1]]]),
    (1, (2, 3, 2), [[[2, 0], [1, 1], [0, 0], [2, 1]]]),
    (0, (3,), [2, 2, 0]),
]
for dim, shape, values in gathers:
    case("gather", [dim], [tensor(*shape), index(values)], lambda x, i, d=dim: x.gather(d, i))
for dim, shape, values in gathers:
    where = index(values)
    for source in (where.shape, [n + 1 for n in where.shape]):
        # PyTorch computes the gradient of the source only where it has the shape of the index.
        src = tensor(*source)
        if list(source) != list(where.shape):
            src = src.detach()
        case(
            "scatterAdd",
            [dim],
            [tensor(*shape), where, src],
            lambda x, i, s, d=dim: x.scatter_add(d, i, s),
        )

for pads, options, shape in [
    ([1, 2], {}, (3,)),
    ([1, 2, 0, 1], {"value": 1.5}, (2, 3)),
    ([1, -1, 2, 0, -1, 1], {"value": -2}, (2, 2, 3)),
    ([-1, -1], {}, (2, 4)),
    ([0, 0, 1, 1], {}, (2, 3, 2)),
    ([2, 1], {"mode": "reflect"}, (2, 3)),
    ([1, 2, 1, 0], {"mode": "reflect"}, (1, 3, 3)),
    ([-1, 2], {"mode": "reflect"}, (2, 4)),
    ([1, 0, 0, 1, 1, 1], {"mode": "reflect"}, (1, 2, 2, 2)),
    ([2, 4], {"mode": "replicate"}, (2, 3)),
    ([1, -1, 0, 2], {"mode": "replicate"}, (1, 2, 3)),
    ([3, 2], {"mode": "circular"}, (2, 3)),
    ([1, 2, 2, 1], {"mode": "circular"}, (1, 2, 3)),
    ([2, -1], {"mode": "circular"}, (2, 4)),
    ([-1, 1], {"mode": "circular"}, (2, 4)),
]:
    case("pad", [pads, options], [tensor(*shape)], lambda x, p=pads, o=options: F.pad(x, p, **o))

path = Path(__file__).with_suffix(".json")
lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
path.write_text(f'{{"torch":"{torch.__version__}","cases":[\n{lines}\n]}}\n')
print(len(cases), path.stat().st_size)

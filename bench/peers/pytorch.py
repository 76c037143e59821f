"""PyTorch: python pytorch.py THREADS [DEVICE]. The protocol is that of serve.mjs."""

import json
import sys
import time

begin = time.perf_counter()
import torch
from torch import nn, optim

if sys.argv[1] == "cold":
    model = nn.Linear(10, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.01)
    loss = nn.MSELoss()(model(torch.randn(100, 10)), torch.randn(100, 1))
    loss.backward()
    optimizer.step()
    loss.item()
    print(1000 * (time.perf_counter() - begin))
    sys.exit()

torch.set_num_threads(int(sys.argv[1]))
DEVICE = sys.argv[2] if len(sys.argv) > 2 else "cpu"
torch.set_default_device(DEVICE)


def mlp(*sizes):
    layers = []
    for i, out in enumerate(sizes[1:]):
        layers += [nn.Linear(sizes[i], out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def training(model, x, y, criterion, lr):
    optimizer = optim.SGD(model.parameters(), lr=lr)

    def run():
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def adamw():
    """A step of AdamW over 8 million parameters in 100 tensors, by the faster of the two implementations."""
    parameters = [nn.Parameter(torch.randn(80_000)) for _ in range(100)]
    for p in parameters:
        p.grad = torch.randn(80_000)
    steps = [optim.AdamW(parameters, **{which: True}).step for which in ("foreach", "fused")]
    return min(steps, key=lambda step: min(timed(step) for _ in range(5)))


def timed(run):
    start = time.perf_counter()
    run()
    finish()
    return time.perf_counter() - start


ELEMENTWISE = {
    "add": lambda v: v + v,
    "relu": torch.relu,
    "exp": torch.exp,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "sum": torch.sum,
    "softmax": lambda v: torch.softmax(v, 1),
}


def make(name):
    kind, _, what = name.partition(" ")
    torch.set_grad_enabled(kind in ("W2", "W3", "W3b"))
    if kind == "W1":
        sizes = [int(d) for d in what.split("x")]
        m, k, n = sizes if len(sizes) == 3 else sizes * 3
        a, b = torch.randn(m, k), torch.randn(k, n)
        return lambda: a @ b
    if kind == "W2":
        return training(mlp(10, 5, 1), torch.randn(100, 10), torch.randn(100, 1), nn.MSELoss(), 0.01)
    if kind == "W3":
        x, y = torch.randn(int(what), 784), torch.arange(int(what)) % 10
        return training(mlp(784, 256, 128, 10), x, y, nn.CrossEntropyLoss(), 0.1)
    if kind == "W3b":
        x, y = torch.randn(256, 1024), torch.randn(256, 1024)
        return training(mlp(1024, 2048, 2048, 1024), x, y, nn.MSELoss(), 0.01)
    if kind == "W4":
        model, x = mlp(784, 256, 128, 10), torch.randn(int(what), 784)
        return lambda: model(x)
    if kind == "W8":
        return adamw()
    v = torch.randn(1024, 1000) if what == "softmax" else torch.randn(1_000_000)
    return lambda: ELEMENTWISE[what](v)


def measure(run, seconds, warm):
    start = time.perf_counter()
    if warm:
        while time.perf_counter() - start < 2 * seconds:
            run()
    finish()
    begin, runs, passed, turn = time.perf_counter(), 0, 0.0, 1
    while passed < seconds:
        for _ in range(turn):
            run()
        finish()
        runs += turn
        passed = time.perf_counter() - begin
        # A GPU is waited for seldom, so that the waiting does not count.
        if DEVICE != "cpu":
            turn *= 2
    return passed / runs


def finish():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def main():
    def say(answer):
        print(json.dumps(answer), flush=True)

    device = f" on {torch.cuda.get_device_name()}" if DEVICE == "cuda" else ""
    say({"version": f"PyTorch {torch.__version__}{device}"})
    name = run = None
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            fresh = ask["name"] != name
            if fresh:
                run = make(ask["name"])
                name = ask["name"]
            say({"seconds": measure(run, ask["seconds"], fresh)})
        except Exception as error:
            name = None
            say({"error": str(error)[:300]})


main()

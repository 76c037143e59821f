"""Writes optim.json: trajectories of optimizers and schedulers.

    python test/golden/optim.py

Everything is computed in float64, optimizers with foreach=False. Three parameters, the last two in a group of their own where
a case has group options, get the gradients of `gradients` in turn; null stands for none. A case has the parameters after each
step, and the state at the end under tapegrad's names. A scheduler's case has what `script` does: the learning rates of the
groups (and the momenta, where they are cycled) after construction and after each step.
"""
import json
import math
import os

import torch

torch.manual_seed(7)
STEPS = 12
SHAPES = [[2, 3], [4], [1]]


def numbers(t):
    return [float(f"{x:.12g}") for x in t.reshape(-1).tolist()]


start = [torch.randn(s, dtype=torch.float64) for s in SHAPES]
gradients = [[torch.randn(s, dtype=torch.float64) * 10 ** (i % 3 - 1) for s in SHAPES] for i in range(STEPS)]
for step, which in [(0, 2), (3, 1), (4, 1), (7, 0), (7, 2)]:
    gradients[step][which] = None

CAMEL = {
    "exp_avg": "expAvg",
    "exp_avg_sq": "expAvgSq",
    "max_exp_avg_sq": "maxExpAvgSq",
    "square_avg": "squareAvg",
    "grad_avg": "gradAvg",
    "momentum_buffer": "momentumBuffer",
}
OPTIONS = {
    "weightDecay": "weight_decay",
    "lrDecay": "lr_decay",
    "initialAccumulatorValue": "initial_accumulator_value",
}


def snake(options):
    return {OPTIONS.get(k, k): v for k, v in options.items()}


def optimizer_case(name, options, group=None):
    params = [torch.nn.Parameter(t.clone()) for t in start]
    groups = params if group is None else [{"params": params[:1]}, {"params": params[1:], **snake(group)}]
    optimizer = getattr(torch.optim, name)(groups, foreach=False, **snake(options))
    trajectory = []
    for grads in gradients:
        for p, g in zip(params, grads):
            p.grad = None if g is None else g.clone()
        optimizer.step()
        trajectory.append([x for p in params for x in numbers(p.detach())])
    state = {}
    for i, p in enumerate(params):
        for key, value in optimizer.state[p].items():
            if value is None or (name == "RMSprop" and key == "step"):
                continue
            state[f"{CAMEL.get(key, key)}.{i}"] = {"shape": list(value.shape), "values": numbers(value.double())}
    return {"name": name, "options": options, "group": group, "trajectory": trajectory, "state": state}


optimizers = [
    optimizer_case("Adam", {}),
    optimizer_case("Adam", {"lr": 0.05, "weightDecay": 0.1}),
    optimizer_case("Adam", {"lr": 0.05, "amsgrad": True}),
    optimizer_case("Adam", {"lr": 0.1, "betas": [0.3, 0.6], "eps": 0.01, "weightDecay": 0.2, "amsgrad": True}),
    optimizer_case("Adam", {"lr": 0.1, "betas": [0.0, 0.0], "eps": 0.5}),
    optimizer_case("Adam", {"lr": 0.02}, {"lr": 0.2, "betas": [0.5, 0.9], "amsgrad": True, "weightDecay": 0.3}),
    optimizer_case("AdamW", {}),
    optimizer_case("AdamW", {"lr": 0.05, "weightDecay": 0.5}),
    optimizer_case("AdamW", {"lr": 0.05, "amsgrad": True, "betas": [0.8, 0.95]}),
    optimizer_case("AdamW", {"lr": 0.02, "weightDecay": 0}, {"lr": 0.1, "eps": 1e-3, "weightDecay": 1}),
    optimizer_case("RMSprop", {}),
    optimizer_case("RMSprop", {"lr": 0.02, "alpha": 0.9, "weightDecay": 0.1}),
    optimizer_case("RMSprop", {"lr": 0.02, "momentum": 0.9}),
    optimizer_case("RMSprop", {"lr": 0.02, "alpha": 0.3, "eps": 0.01, "centered": True}),
    optimizer_case("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.5, "weightDecay": 0.2}),
    optimizer_case("RMSprop", {"lr": 0.02}, {"momentum": 0.7, "alpha": 0.5, "lr": 0.05}),
    optimizer_case("Adagrad", {}),
    optimizer_case("Adagrad", {"lr": 0.3, "lrDecay": 0.1, "weightDecay": 0.2}),
    optimizer_case("Adagrad", {"lr": 0.1, "initialAccumulatorValue": 0.5, "eps": 0.01}),
    optimizer_case("Adagrad", {"lr": 0.1}, {"lr": 0.4, "lrDecay": 0.5}),
]

S = torch.optim.lr_scheduler


def scheduler_case(name, make, steps=16, groups=(0.1,), optimizer="SGD", metrics=None, by_hand=None, **options):
    """by_hand: { step: learning rate that is assigned to the first group before that step }"""
    params = [{"params": [torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], "lr": lr} for lr in groups]
    o = getattr(torch.optim, optimizer)(params, **options)
    scheduler = make(o)
    key = "betas" if "betas" in o.param_groups[0] else "momentum"
    read = lambda group: group[key][0] if key == "betas" else group[key]
    rows = [[[g["lr"] for g in o.param_groups], [read(g) for g in o.param_groups]]]
    for i in range(steps):
        o.step()
        if by_hand and i in by_hand:
            o.param_groups[0]["lr"] = by_hand[i]
        if metrics is None:
            scheduler.step()
        else:
            scheduler.step(metrics[i])
        rows.append([[g["lr"] for g in o.param_groups], [read(g) for g in o.param_groups]])
    return {
        "name": name,
        "groups": list(groups),
        "optimizer": optimizer,
        "options": options,
        "metrics": metrics,
        "byHand": by_hand,
        "rates": [r[0] for r in rows],
        "momenta": [r[1] for r in rows],
    }


metric = [1, 0.9, 0.95, 0.9, 0.91, 0.92, 0.89995, 0.93, 0.5, 0.6, 0.6, 0.6, 0.55, 0.7, 0.7, 0.4]
hand = {5: 0.7, 9: 0.02}
two = (0.1, 0.4)
cyclic = dict(momentum=0.9)
schedulers = [
    scheduler_case("step", lambda o: S.StepLR(o, 3), groups=two),
    scheduler_case("step, by hand", lambda o: S.StepLR(o, 4, gamma=0.5), by_hand=hand),
    scheduler_case("multi-step", lambda o: S.MultiStepLR(o, [2, 5, 5, 11]), groups=two),
    scheduler_case("multi-step, by hand", lambda o: S.MultiStepLR(o, [8, 2], gamma=0.3), by_hand=hand),
    scheduler_case("exponential", lambda o: S.ExponentialLR(o, 0.9), groups=two),
    scheduler_case("exponential, by hand", lambda o: S.ExponentialLR(o, 0.8), by_hand=hand),
    scheduler_case("cosine", lambda o: S.CosineAnnealingLR(o, 10), groups=two, steps=33),
    scheduler_case("cosine, by hand", lambda o: S.CosineAnnealingLR(o, 5, eta_min=0.01), by_hand=hand),
    scheduler_case("linear", lambda o: S.LinearLR(o), groups=two),
    scheduler_case("linear, by hand", lambda o: S.LinearLR(o, 0.5, 0.9, 8), by_hand=hand),
    scheduler_case("one cycle", lambda o: S.OneCycleLR(o, 0.5, total_steps=16), steps=15, **cyclic),
    scheduler_case(
        "one cycle, linear in three phases",
        lambda o: S.OneCycleLR(
            o, [0.5, 2.0], total_steps=16, pct_start=0.4, anneal_strategy="linear", three_phase=True,
            base_momentum=0.6, max_momentum=0.8, div_factor=10, final_div_factor=100,
        ),
        steps=15, groups=two, **cyclic,
    ),
    scheduler_case("one cycle of Adam", lambda o: S.OneCycleLR(o, 0.5, total_steps=13), steps=12, optimizer="Adam"),
    scheduler_case(
        "one cycle without momentum", lambda o: S.OneCycleLR(o, 0.5, total_steps=16, cycle_momentum=False), steps=15
    ),
    scheduler_case("lambda", lambda o: S.LambdaLR(o, lambda n: 0.95**n), by_hand=hand),
    scheduler_case("lambdas", lambda o: S.LambdaLR(o, [lambda n: 1 / (1 + n), lambda n: n]), groups=two),
    scheduler_case(
        "warm-up, then cosine",
        lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.1, total_iters=4), S.CosineAnnealingLR(o, 9)], [4]),
        groups=two,
    ),
    scheduler_case(
        "three in a row",
        lambda o: S.SequentialLR(o, [S.LinearLR(o, 0.5, total_iters=2), S.StepLR(o, 2), S.ExponentialLR(o, 0.7)], [3, 9]),
    ),
    scheduler_case("plateau", lambda o: S.ReduceLROnPlateau(o, patience=1), groups=two, metrics=metric),
    scheduler_case(
        "plateau of a maximum",
        lambda o: S.ReduceLROnPlateau(o, mode="max", factor=0.5, patience=2, threshold=0.1, cooldown=2, min_lr=0.01),
        metrics=metric,
    ),
    scheduler_case(
        "plateau with absolute threshold",
        lambda o: S.ReduceLROnPlateau(
            o, factor=0.3, patience=0, threshold=0.06, threshold_mode="abs", min_lr=[0.02, 0.001], eps=0.01
        ),
        groups=two, metrics=metric,
    ),
    scheduler_case(
        "plateau with NaN",
        lambda o: S.ReduceLROnPlateau(o, patience=0, factor=0.5),
        metrics=[1, math.nan, 0.5, math.inf, 0.4, 0.3], steps=6,
    ),
]
for case in schedulers:
    if case["metrics"]:
        case["metrics"] = [x if math.isfinite(x) else str(x) for x in case["metrics"]]


class chained:
    def __init__(self, o):
        self.parts = [S.ExponentialLR(o, 0.9), S.StepLR(o, 4, gamma=0.5)]

    def step(self):
        for part in self.parts:
            part.step()


schedulers.append(scheduler_case("two at once", chained, groups=two))

# The average of weights, as AveragedModel has it with get_ema_multi_avg_fn.
model = torch.nn.Linear(2, 1).double()
averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8))
values, averages = [], []
for i in range(6):
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p))
    averaged.update_parameters(model)
    values.append([x for p in model.parameters() for x in numbers(p.detach())])
    averages.append([x for p in averaged.module.parameters() for x in numbers(p.detach())])

out = {
    "torch": torch.__version__,
    "shapes": SHAPES,
    "start": [numbers(t) for t in start],
    "gradients": [[None if g is None else numbers(g) for g in grads] for grads in gradients],
    "optimizers": optimizers,
    "schedulers": schedulers,
    "average": {"decay": 0.8, "values": values, "averages": averages},
}
path = os.path.join(os.path.dirname(__file__), "optim.json")
with open(path, "w") as f:
    json.dump(out, f, separators=(",", ":"))
    f.write("\n")
print(os.path.getsize(path))

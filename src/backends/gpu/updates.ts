import * as adaptive from '../../../kernels/gpu/adaptive.js';
import { fill } from '../../../kernels/gpu/layout.js';
import * as optim from '../../../kernels/gpu/optim.js';
import type { Storage } from '../storage.js';
import type { Fused, FusedCall, Launcher } from './launcher.js';
import type { Argument } from './memory.js';
import type { Cell } from './storage.js';

// The updates of optimizers. A kernel of gpu.js has one result, of up to four numbers for each thread, in an array of its own
// (createKernelMap, which has several, is not there on WebGPU). Parameters are dense arrays for the kernels of other operations, so
// a step is a kernel for each tensor that it changes. State that is packed into one array would save Adam a kernel of three,
// and a tenth of the memory traffic, but would have to be unpacked for every state dict.

/** The updates by name. */
export const updates: { readonly [name: string]: Fused } = {
  sgd: (gpu, call) => {
    const { operands, numbers, guard } = call;
    const [parameter, gradient, velocity] = operands;
    const [lr, momentum, , weightDecay, nesterov] = numbers;
    const flag = guard && gpu.present(guard);
    const [p, g] = [gpu.present(parameter!), gpu.present(gradient!)];
    const args: Argument[] = [p, g, weightDecay];
    let kernel = optim.plain;
    if (velocity !== null) {
      const v = nextVelocity(gpu, call, args, flag);
      gpu.replace(velocity, v);
      args.push(v);
      kernel = nesterov ? optim.nesterov : optim.withMomentum;
    }
    args.push(lr);
    if (velocity !== null && nesterov) args.push(momentum);
    gpu.replace(parameter!, guarded(gpu, kernel, parameter!.size, args, p, flag));
    return null;
  },
  adam: (gpu, { operands, numbers, guard }) => {
    const [parameter, gradient, average, square, largest, before] = operands;
    const [lr, beta1, beta2, eps, weightDecay, keep] = numbers;
    const flag = guard && gpu.present(guard);
    const p = gpu.present(parameter!);
    const common: Argument[] = [p, gpu.present(gradient!), weightDecay];
    const m = next(gpu, adaptive.average, average!, [...common, 1 - beta1], flag);
    let v = next(gpu, adaptive.square, square!, [...common, beta2, 1 - beta2], flag);
    if (largest != null) v = next(gpu, adaptive.largest, largest, [v], flag);
    const step = next(gpu, adaptive.count, before!, [], flag);
    const args = [m, v, step, lr, logOf(beta1), logOf(beta2), eps, keep];
    next(gpu, adaptive.adam, parameter!, args, flag);
    return null;
  },
  rmsprop: (gpu, { operands, numbers, guard }) => {
    const [parameter, gradient, square, average, velocity] = operands;
    const [lr, alpha, eps, weightDecay, momentum] = numbers;
    const flag = guard && gpu.present(guard);
    const common: Argument[] = [gpu.present(parameter!), gpu.present(gradient!), weightDecay];
    const v = next(gpu, adaptive.square, square!, [...common, alpha, 1 - alpha], flag);
    const m = average === null ? null : next(gpu, adaptive.average, average, [...common, 1 - alpha], flag);
    const args = [...common, v, ...(m === null ? [] : [m]), eps];
    if (velocity === null) {
      next(gpu, m === null ? adaptive.rmsprop : adaptive.centered, parameter!, [...args.slice(1), lr], flag);
    } else {
      const kernel = m === null ? adaptive.velocity : adaptive.centeredVelocity;
      const b = next(gpu, kernel, velocity, [...args, momentum], flag);
      next(gpu, adaptive.descend, parameter!, [b, lr], flag);
    }
    return null;
  },
  adagrad: (gpu, { operands, numbers, guard }) => {
    const [parameter, gradient, sum, before] = operands;
    const [lr, eps, weightDecay, lrDecay] = numbers;
    const flag = guard && gpu.present(guard);
    const [p, g] = [gpu.present(parameter!), gpu.present(gradient!)];
    const s = next(gpu, adaptive.sum, sum!, [p, g, weightDecay], flag);
    const step = next(gpu, adaptive.count, before!, [], flag);
    next(gpu, adaptive.adagrad, parameter!, [g, weightDecay, s, step, lr, lrDecay, eps], flag);
    return null;
  },
  averaging: (gpu, { operands: [average, p], numbers: [weight] }) => {
    next(gpu, adaptive.moving, average!, [gpu.present(p!), weight], null);
    return null;
  },
};

/** Replaces a tensor by what a kernel makes of it, its first argument, and of others. */
function next(gpu: Launcher, kernel: optim.Step, target: Storage, args: readonly Argument[], guard: Cell | null): Cell {
  const before = gpu.present(target);
  const after = guarded(gpu, kernel, target.size, [before, ...args], before, guard);
  gpu.replace(target, after);
  return after;
}

/** The logarithm of a beta; for 0 a number whose exponential is 0 and that can be multiplied. */
const logOf = (beta: number): number => Math.max(Math.log(beta), -1e3);

/** The next velocity of an SGD update; `args` are the arguments that all its kernels begin with. */
function nextVelocity(gpu: Launcher, call: FusedCall, args: readonly Argument[], guard: Cell | null): Cell {
  const { operands, numbers } = call;
  const [, , velocity, started] = operands;
  const [, momentum, dampening, , , firstStep] = numbers;
  const before = gpu.present(velocity!);
  if (started == null) {
    const kept = firstStep ? [0, 0] : [momentum, dampening];
    return guarded(gpu, optim.velocity, velocity!.size, [...args, before, ...kept], before, guard);
  }
  const flag = gpu.present(started);
  const given = [...args, before, momentum, dampening, flag];
  const next = guarded(gpu, optim.startingVelocity, velocity!.size, given, before, guard);
  gpu.replace(
    started,
    guard === null ? gpu.launch(fill, 1, [1], flag) : gpu.launch(optim.start, 1, [guard, flag], flag),
  );
  return next;
}

/** Runs the guarded twin of a kernel where there is a guard; `kept` is what stays if it fails. */
function guarded(
  gpu: Launcher,
  kernel: optim.Step,
  size: number,
  args: readonly Argument[],
  kept: Cell,
  guard: Cell | null,
): Cell {
  if (guard === null) return gpu.launch(kernel.plain, size, args, kept);
  return gpu.launch(kernel.guarded, size, [...args, guard], kept);
}

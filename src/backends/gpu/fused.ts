import { binary, scale, ternary } from '../../../kernels/gpu/elementwise.js';
import { fill } from '../../../kernels/gpu/layout.js';
import { crossEntropy, crossEntropyGrad, squaredErrorGrad } from '../../../kernels/gpu/loss.js';
import * as optim from '../../../kernels/gpu/optim.js';
import { uniform } from '../../../kernels/gpu/random.js';
import { type Reduction, reduce } from '../../../kernels/gpu/reduce.js';
import type { GpuKernel } from '../../../kernels/gpu/source.js';
import { halves } from '../../random.js';
import type { DeviceInfo } from '../backend.js';
import type { Storage } from '../storage.js';
import type { Argument } from './memory.js';
import { ordering } from './order.js';
import type { Cell } from './storage.js';

/** What fused kernels need of the backend. */
export interface Launcher {
  info(): DeviceInfo;
  /** The numbers of a storage on the device. */
  present(storage: Storage): Cell;
  /** Queues a kernel; see GpuMemory.launch. */
  launch(kernel: GpuKernel, threads: number | number[], args: readonly Argument[], kept?: Cell): Cell;
  /** Puts other numbers into a storage. */
  replace(storage: Storage, cell: Cell): void;
  /** Reduces in stages until one number is left for each of the outer times inner. */
  stages(kernel: Reduction, x: Cell, outer: number, length: number, inner: number): Cell;
  /** The rows' maxima, and the sums of their other exponentials. */
  rowRests(x: Storage, rows: number, cols: number): [tops: Cell, rests: Cell];
}

/** The arguments of Backend.fused. */
export interface FusedCall {
  readonly operands: readonly (Storage | null)[];
  readonly size: number;
  readonly bounds: readonly number[];
  readonly numbers: readonly number[];
  readonly guard: Storage | null;
}

/**
 * Queues the kernels of one call. Returns the result, null if it changed operands instead, or undefined where it cannot run.
 */
export type Fused = (gpu: Launcher, call: FusedCall) => Cell | null | undefined;

const choose = ternary('where', 'a === 0 ? c : b');

/** The fused kernels of this backend, by name. */
export const fused: { readonly [name: string]: Fused | undefined } = {
  squaredError: (gpu, { operands: [a, b], numbers: [factor] }) => {
    const difference = binary('squaredError', '(a - b) * (a - b)', 1);
    const squares = gpu.launch(difference, a!.size, [gpu.present(a!), gpu.present(b!), 1, 1]);
    const sum = gpu.stages(reduce('squaredError', 'acc + x', 'sum'), squares, 1, a!.size, 1);
    return releasing(gpu.launch(scale, 1, [sum, factor]), squares, sum);
  },
  squaredErrorGrad: (gpu, { operands, numbers, size }) =>
    gpu.launch(squaredErrorGrad, size, [...operands.map((x) => gpu.present(x!)), ...numbers]),
  crossEntropy: (gpu, { operands: [x, index], bounds: [rows, cols] }) => {
    const [tops, rests] = gpu.rowRests(x!, rows, cols);
    return releasing(
      gpu.launch(crossEntropy, rows, [gpu.present(x!), gpu.present(index!), tops, rests, cols]),
      tops,
      rests,
    );
  },
  crossEntropyGrad: (gpu, { operands, bounds: [rows, cols], numbers }) => {
    const [x, index, g] = operands.map((s) => s!);
    const [tops, rests] = gpu.rowRests(x, rows, cols);
    const args = [gpu.present(x), gpu.present(index), gpu.present(g), tops, rests, cols, ...numbers];
    return releasing(gpu.launch(crossEntropyGrad, x.size, args), tops, rests);
  },
  ...ordering,
  // WebGL 1 has no integers of 32 bits.
  uniform: (gpu, { operands: [position], size, numbers }) => {
    const [keep, value, offset] = numbers.slice(4);
    if (position != null) return gpu.launch(uniform.device, size, [gpu.present(position), offset, keep, value]);
    if (gpu.info().backend === 'headlessgl') return undefined;
    return gpu.launch(uniform.host, size, [Float32Array.from(halves(numbers.slice(0, 4))), 0, keep, value]);
  },
  where: (gpu, { operands, size, bounds: [, ...steps] }) =>
    gpu.launch(choose, size, [...operands.map((x) => gpu.present(x!)), ...steps]),
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
};

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

/** The result, when nothing else needs what was computed on the way. */
function releasing(out: Cell, ...cells: Cell[]): Cell {
  for (const cell of cells) cell.release();
  return out;
}

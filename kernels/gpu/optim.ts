import { type ArgumentType, type GpuKernel, gpuKernel } from './source.js';

// One SGD update, PyTorch's rule, in two kernels: the velocity, where there is momentum, and the parameter. The gradient
// with its weight decay is d. Each has a guarded twin, which keeps what was there unless guard[0] is 0.

/** A kernel of one update, without a guard and with one. */
export interface Step {
  readonly plain: GpuKernel;
  readonly guarded: GpuKernel;
}

function sgd(step: string, kept: 'p' | 'v', args: Record<string, ArgumentType>, result: string): Step {
  const given = { p: 'Array', g: 'Array', decay: 'Number', ...args } as const;
  const d = 'const d = g[this.thread.x] + decay * p[this.thread.x];';
  const guarded = `${d}\nif (guard[0] === 0) { return ${result}; }\nreturn ${kept}[this.thread.x];`;
  return {
    plain: gpuKernel('sgd', step, given, `${d}\nreturn ${result};`),
    guarded: gpuKernel('sgd', `${step} guarded`, { ...given, guard: 'Array' }, guarded),
  };
}

/** For the first step the velocity is 0 and counts with momentum and dampening 0. */
export const velocity = sgd(
  'velocity',
  'v',
  { v: 'Array', momentum: 'Number', dampening: 'Number' },
  'momentum * v[this.thread.x] + (1 - dampening) * d',
);

/** The same where started[0] says whether there was a step; the velocity is 0 before. */
export const startingVelocity = sgd(
  'velocity from its start',
  'v',
  { v: 'Array', momentum: 'Number', dampening: 'Number', started: 'Array' },
  'momentum * v[this.thread.x] + (1 - dampening * started[0]) * d',
);

/** What `started` is after a step. */
export const start = gpuKernel(
  'sgd',
  'start',
  { guard: 'Array', started: 'Array' },
  `if (guard[0] === 0) { return 1; }
  return started[0];`,
);

export const plain = sgd('', 'p', { lr: 'Number' }, 'p[this.thread.x] - lr * d');

/** With the new velocity. */
export const withMomentum = sgd(
  'with momentum',
  'p',
  { v: 'Array', lr: 'Number' },
  'p[this.thread.x] - lr * v[this.thread.x]',
);

/** With the new velocity, and a look ahead. */
export const nesterov = sgd(
  'with nesterov',
  'p',
  { v: 'Array', lr: 'Number', momentum: 'Number' },
  'p[this.thread.x] - lr * (d + momentum * v[this.thread.x])',
);

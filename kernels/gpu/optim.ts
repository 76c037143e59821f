import { type ArgumentType, gpuKernel } from './source.js';

// One SGD update, PyTorch's rule, in two kernels: the velocity, where there is momentum, and the parameter. The gradient
// with its weight decay is d.

const sgd = (step: string, args: Record<string, ArgumentType>, result: string) =>
  gpuKernel(
    'sgd',
    step,
    { p: 'Array', g: 'Array', decay: 'Number', ...args },
    `const d = g[this.thread.x] + decay * p[this.thread.x];\nreturn ${result};`,
  );

/** For the first step the velocity is 0 and counts with momentum and dampening 0. */
export const velocity = sgd(
  'velocity',
  { v: 'Array', momentum: 'Number', dampening: 'Number' },
  'momentum * v[this.thread.x] + (1 - dampening) * d',
);

export const plain = sgd('', { lr: 'Number' }, 'p[this.thread.x] - lr * d');

/** With the new velocity. */
export const withMomentum = sgd(
  'with momentum',
  { v: 'Array', lr: 'Number' },
  'p[this.thread.x] - lr * v[this.thread.x]',
);

/** With the new velocity, and a look ahead. */
export const nesterov = sgd(
  'with nesterov',
  { v: 'Array', lr: 'Number', momentum: 'Number' },
  'p[this.thread.x] - lr * (d + momentum * v[this.thread.x])',
);

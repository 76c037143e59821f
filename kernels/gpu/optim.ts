import { gpuKernel } from './source.js';

// One SGD update, PyTorch's rule, in two kernels: the velocity, where there is momentum, and the parameter.

/** The first velocity: the gradient with its weight decay. */
export const firstVelocity = gpuKernel(
  'sgd',
  'first velocity',
  { p: 'Array', g: 'Array', decay: 'Number' },
  'return g[this.thread.x] + decay * p[this.thread.x];',
);

export const velocity = gpuKernel(
  'sgd',
  'velocity',
  { p: 'Array', g: 'Array', v: 'Array', decay: 'Number', momentum: 'Number', dampening: 'Number' },
  `const d = g[this.thread.x] + decay * p[this.thread.x];
    return momentum * v[this.thread.x] + (1 - dampening) * d;`,
);

/** p - lr d, with the new velocity v: d is v, or with Nesterov's look-ahead the gradient plus momentum v. */
export const withMomentum = gpuKernel(
  'sgd',
  'with momentum',
  { p: 'Array', v: 'Array', lr: 'Number' },
  'return p[this.thread.x] - lr * v[this.thread.x];',
);

export const nesterov = gpuKernel(
  'sgd',
  'with nesterov',
  { p: 'Array', g: 'Array', v: 'Array', lr: 'Number', decay: 'Number', momentum: 'Number' },
  `const d = g[this.thread.x] + decay * p[this.thread.x];
    return p[this.thread.x] - lr * (d + momentum * v[this.thread.x]);`,
);

export const plain = gpuKernel(
  'sgd',
  '',
  { p: 'Array', g: 'Array', lr: 'Number', decay: 'Number' },
  'return p[this.thread.x] - lr * (g[this.thread.x] + decay * p[this.thread.x]);',
);

import type { Step } from './optim.js';
import { type ArgumentType, gpuKernel } from './source.js';

// The updates of Adam, RMSprop and Adagrad, and of averages of weights: one kernel for each tensor that changes. The first
// argument is what changes, x. Each kernel has a guarded twin, which keeps x unless guard[0] is 0.

const I = '[this.thread.x]';

function step(name: string, args: Record<string, ArgumentType>, result: string, before = ''): Step {
  const given = { x: 'Array', ...args } as const;
  return {
    plain: gpuKernel('optimizer', name, given, `${before}return ${result};`),
    guarded: gpuKernel(
      'optimizer',
      `${name} guarded`,
      { ...given, guard: 'Array' },
      `${before}if (guard[0] === 0) { return ${result}; }\nreturn x${I};`,
    ),
  };
}

/** The gradient with its weight decay is d. */
const GRADIENT = { p: 'Array', g: 'Array', decay: 'Number' } as const;
const D = `const d = g${I} + decay * p${I};\n`;
const OWN_D = `const d = g${I} + decay * x${I};\n`;

/** x + weight (d - x), computed from the nearer end. */
const lerp = (to: string) => `weight < 0.5 ? x${I} + weight * (${to} - x${I}) : ${to} + (weight - 1) * (${to} - x${I})`;

/** The moving average of the gradient; `weight` is that of the new one. */
export const average = step('average', { ...GRADIENT, weight: 'Number' }, lerp('d'), D);

/** The moving average of its square. */
export const square = step(
  'square',
  { ...GRADIENT, beta: 'Number', weight: 'Number' },
  `beta * x${I} + weight * d * d`,
  D,
);

/** The sum of its squares. */
export const sum = step('sum', GRADIENT, `x${I} + d * d`, D);

/** The larger of two, NaN if one of them is. */
export const largest = step(
  'largest',
  { v: 'Array' },
  `v${I} > x${I} ? v${I} : x${I} === x${I} ? (v${I} === v${I} ? x${I} : v${I}) : x${I}`,
);

/** The number of steps. */
export const count = step('count', {}, 'x[0] + 1');

/** 1 - betaᵗ from the logarithm of beta, as a quotient of tanh: 1 - exp(x) would lose the digits of a small x. */
const corrections = [1, 2]
  .map((i) => `const t${i} = tanhOf(0.5 * log${i} * count[0]);\nconst correction${i} = -2 * t${i} / (1 - t${i});\n`)
  .join('');

/** The parameter, from the new averages and the number of steps with this one. */
export const adam = step(
  'adam',
  {
    m: 'Array',
    v: 'Array',
    count: 'Array',
    lr: 'Number',
    log1: 'Number',
    log2: 'Number',
    eps: 'Number',
    keep: 'Number',
  },
  `keep * x${I} - lr / correction1 * m${I} / (Math.sqrt(v${I}) / Math.sqrt(correction2) + eps)`,
  corrections,
);

const ROOT = `Math.sqrt(v${I})`;
const CENTERED_ROOT = `Math.sqrt(v${I} - m${I} * m${I})`;
const REST = { g: 'Array', decay: 'Number', v: 'Array' } as const;

export const rmsprop = step(
  'rmsprop',
  { ...REST, eps: 'Number', lr: 'Number' },
  `x${I} - lr * d / (${ROOT} + eps)`,
  OWN_D,
);

export const centered = step(
  'rmsprop centered',
  { ...REST, m: 'Array', eps: 'Number', lr: 'Number' },
  `x${I} - lr * d / (${CENTERED_ROOT} + eps)`,
  OWN_D,
);

export const velocity = step(
  'rmsprop velocity',
  { ...GRADIENT, v: 'Array', eps: 'Number', momentum: 'Number' },
  `momentum * x${I} + d / (${ROOT} + eps)`,
  D,
);

export const centeredVelocity = step(
  'rmsprop centered velocity',
  { ...GRADIENT, v: 'Array', m: 'Array', eps: 'Number', momentum: 'Number' },
  `momentum * x${I} + d / (${CENTERED_ROOT} + eps)`,
  D,
);

/** The parameter, from the new velocity. */
export const descend = step('descend', { b: 'Array', lr: 'Number' }, `x${I} - lr * b${I}`);

/** The parameter, from the new sum and the number of steps with this one. */
export const adagrad = step(
  'adagrad',
  { ...REST, count: 'Array', lr: 'Number', lrDecay: 'Number', eps: 'Number' },
  `x${I} - lr / (1 + (count[0] - 1) * lrDecay) * d / (${ROOT} + eps)`,
  OWN_D,
);

/** The moving average of a parameter. */
export const moving = step('moving average', { p: 'Array', weight: 'Number' }, lerp(`p${I}`));

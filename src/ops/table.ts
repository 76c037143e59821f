import { binary, compare, gradients, unary } from './elementwise.js';
import {
  crossEntropy,
  crossEntropyGrad,
  crossEntropyTotal,
  losses,
  pick,
  place,
  squaredError,
  squaredErrorGrad,
} from './loss.js';
import { linear, product } from './matmul.js';
import { clone, move } from './move.js';
import { reduce } from './reduce.js';
import type { NamedGeneral } from './row.js';
import { broadcast, reshape, sumBack, transpose } from './shape.js';
import { logSoftmax, softmax } from './softmax.js';

/** Every operation there is, by family. The tests walk this table, so that a row is tested by being in it. */
export const table = {
  unary,
  binary: { ...binary, ...losses, ...gradients },
  compare,
  reduce,
  // A list of rows with different attributes: each is only ever called with its own.
  general: [
    product,
    linear,
    reshape,
    transpose,
    broadcast,
    sumBack,
    softmax,
    logSoftmax,
    pick,
    place,
    squaredError,
    squaredErrorGrad,
    crossEntropy,
    crossEntropyTotal,
    crossEntropyGrad,
    clone,
    move,
  ] as unknown as readonly NamedGeneral<unknown>[],
} as const;

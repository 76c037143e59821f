import { activationGradients, activations, approximations } from './activations.js';
import { flip } from './arrange.js';
import { binaryCrossEntropies } from './bce.js';
import { crossEntropy, crossEntropyGrad, crossEntropyTotal } from './cross-entropy.js';
import { binary, compare, gradients, unary } from './elementwise.js';
import { functions } from './functions.js';
import { gather, scatter } from './indexing.js';
import { join } from './join.js';
import { losses, squaredError, squaredErrorGrad } from './loss.js';
import { choices, choose, clamp } from './masks.js';
import { linear, product } from './matmul.js';
import { clone, move } from './move.js';
import { layerNorm, layerNormGrad, layerNormSums } from './norm.js';
import { pad } from './pad.js';
import { reduce } from './reduce.js';
import type { NamedGeneral } from './row.js';
import { cumsum } from './scan.js';
import { logSoftmax, softmax } from './softmax.js';
import { logsumexp, root, variance } from './statistics.js';
import { contiguous, expand, narrow, narrowBackward, permute, reshape, unbroadcast } from './view.js';

/** All operations, by family. The tests iterate over this table, so a row in it is tested. */
export const table = {
  unary: { ...unary, ...functions, ...activations, ...approximations },
  binary: { ...binary, ...losses, ...binaryCrossEntropies, ...gradients, ...choices, ...activationGradients },
  compare,
  reduce,
  // The rows have different types of attributes; each row is called only with its own type.
  general: [
    product,
    linear,
    reshape,
    permute,
    narrow,
    narrowBackward,
    expand,
    unbroadcast,
    contiguous,
    softmax,
    logSoftmax,
    gather,
    scatter,
    join,
    flip,
    pad,
    squaredError,
    squaredErrorGrad,
    crossEntropy,
    crossEntropyTotal,
    crossEntropyGrad,
    layerNorm,
    layerNormGrad,
    layerNormSums,
    variance,
    root,
    logsumexp,
    cumsum,
    clone,
    move,
    choose,
    clamp,
  ] as unknown as readonly NamedGeneral<unknown>[],
} as const;

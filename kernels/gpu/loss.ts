import { gpuKernel, integer } from './source.js';

/** 2 scale g (a - b) for a single g. */
export const squaredErrorGrad = gpuKernel(
  'squaredErrorGrad',
  '',
  { a: 'Array', b: 'Array', g: 'Array', scale: 'Number' },
  'return 2 * scale * g[0] * (a[this.thread.x] - b[this.thread.x]);',
);

/** -log softmax(x)[r, labels[r]], from the rows' maxima and what the other exponentials come to. */
export const crossEntropy = gpuKernel(
  'crossEntropy',
  '',
  { input: 'Array', labels: 'Array', tops: 'Array', rests: 'Array', cols: 'Integer' },
  `const label = labels[this.thread.x];
    return log1pOf(rests[this.thread.x]) + (tops[this.thread.x] - input[this.thread.x * cols + toInteger(label)]);`,
);

/** scale g (softmax(x) - onehot(labels)). */
export const crossEntropyGrad = gpuKernel(
  'crossEntropyGrad',
  '',
  { input: 'Array', labels: 'Array', g: 'Array', tops: 'Array', rests: 'Array', cols: 'Integer', scale: 'Number' },
  `${integer('r', 'divide(this.thread.x, cols)')}
    let p = expOf(input[this.thread.x] - tops[r]) / (1 + rests[r]);
    if (this.thread.x - r * cols === toInteger(labels[r])) { p = p - 1; }
    return g[0] * scale * p;`,
);

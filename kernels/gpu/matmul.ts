import { type GpuKernel, gpuKernel, integer } from './source.js';

export interface MatmulVariant {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly bias: boolean;
  readonly relu: boolean;
}

/** C[m,n] = op(A) op(B) for a batch of pairs; `whichA` and `whichB` hold the number of the matrix for each product. */
export function matmul({ transA, transB, bias, relu }: MatmulVariant): GpuKernel {
  const args = {
    left: 'Array',
    right: 'Array',
    ...(bias ? ({ bias: 'Array' } as const) : {}),
    whichA: 'Array',
    whichB: 'Array',
    m: 'Integer',
    n: 'Integer',
    k: 'Integer',
  } as const;
  const a = transA ? 'left[a0 + p * m + row]' : 'left[a0 + row * k + p]';
  const b = transB ? 'right[b0 + col * k + p]' : 'right[b0 + p * n + col]';
  const body = `${integer('q', 'divide(this.thread.x, n)')}
    ${integer('product', 'divide(q, m)')}
    ${integer('row', 'q - product * m')}
    ${integer('col', 'this.thread.x - q * n')}
    ${integer('a0', 'toInteger(whichA[product]) * m * k')}
    ${integer('b0', 'toInteger(whichB[product]) * k * n')}
    let sum = 0.0;
    for (let p = 0; p < k; p++) { sum = sum + ${a} * ${b}; }
    ${bias ? 'sum = sum + bias[col];' : ''}
    ${relu ? 'if (sum < 0) { sum = 0; }' : ''}
    return sum;`;
  const layout = `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}`;
  return gpuKernel('matmul', `${layout}${bias ? ' + bias' : ''}${relu ? ', relu' : ''}`, args, body);
}

import { type GpuKernel, gpuKernel, integer, once } from './source.js';

/** A product's layouts, and what happens to its sums. */
export interface ProductForm {
  readonly transA: boolean;
  readonly transB: boolean;
  readonly bias: boolean;
  readonly relu: boolean;
}

export interface MatmulVariant extends ProductForm {
  /** How many neighbouring columns a thread computes: 4 where their number is divisible by it. */
  readonly columns: 1 | 4;
  /** Threads in one dimension instead of three, for more rows or columns than a device counts in one of three. */
  readonly flat: boolean;
}

/** The most rows, and threads in a row: 65,535 workgroups of 8 by 8. */
export const MOST_THREADS = 65_535 * 8;
/** The most products. */
export const MOST_PRODUCTS = 65_535;

export const productArguments = (bias: boolean) =>
  ({
    left: 'Array',
    right: 'Array',
    ...(bias ? ({ bias: 'Array' } as const) : {}),
    whichA: 'Host',
    whichB: 'Host',
    m: 'Integer',
    n: 'Integer',
    k: 'Integer',
  }) as const;

/** NN, NT, TN or TT, with what happens to the sums. */
export const formName = ({ transA, transB, bias, relu }: ProductForm): string =>
  `${transA ? 'T' : 'N'}${transB ? 'T' : 'N'}${bias ? ' + bias' : ''}${relu ? ', relu' : ''}`;

/** How many steps of the sum are written out in a turn of the loop. */
const UNROLL = 4;

/**
 * C[m,n] = op(A) op(B) for a batch of pairs; `whichA` and `whichB` hold the number of the matrix for each product. Its
 * threads are [n / columns, m, batch], or as many in a row.
 */
export function matmul(variant: MatmulVariant): GpuKernel {
  const key = `${formName(variant)}, ${variant.columns} columns${variant.flat ? ', flat' : ''}`;
  return once(`matmul ${key}`, () => write(key, variant));
}

function write(key: string, variant: MatmulVariant): GpuKernel {
  const { transA, transB, bias, relu, columns, flat } = variant;
  const args = productArguments(bias);
  const each = Array.from({ length: columns }, (_, c) => c);
  /** One step of the sums at position p, relative to where the loop is. */
  const step = (p: string, j: number) => {
    const a = transA ? `left[leftAt + ${p} * m]` : `left[leftAt + ${p}]`;
    const b = (c: number) => (transB ? `right[rightAt + ${p} + ${c} * k]` : `right[rightAt + ${p} * n + ${c}]`);
    return [`const a${j} = ${a};`, ...each.map((c) => `s${c} = s${c} + a${j} * ${b(c)};`)].join(' ');
  };
  const unrolled = Array.from({ length: UNROLL }, (_, j) => step(`(p * ${UNROLL} + ${j})`, j));
  const finished = each.map((c) => {
    const sum = bias ? `s${c} + bias[col + ${c}]` : `s${c}`;
    return relu ? `const y${c} = ${sum}; ${`const r${c} = y${c} < 0 ? 0 : y${c};`}` : `const r${c} = ${sum};`;
  });
  const place = flat
    ? [
        integer('across', columns === 1 ? 'n' : `divide(n, ${columns})`),
        integer('line', 'divide(this.thread.x, across)'),
        integer('product', 'divide(line, m)'),
        integer('row', 'line - product * m'),
        integer('col', `(this.thread.x - line * across) * ${columns}`),
      ]
    : [
        integer('product', 'this.thread.z'),
        integer('row', 'this.thread.y'),
        integer('col', `this.thread.x * ${columns}`),
      ];
  const body = `${place.join('\n    ')}
    ${integer('leftAt', `toInteger(whichA[product]) * m * k + row${transA ? '' : ' * k'}`)}
    ${integer('rightAt', `toInteger(whichB[product]) * k * n + col${transB ? ' * k' : ''}`)}
    ${integer('turns', `divide(k, ${UNROLL})`)}
    ${integer('rest', `turns * ${UNROLL}`)}
    ${each.map((c) => `let s${c} = 0.0;`).join(' ')}
    for (let p = 0; p < turns; p++) {
      ${unrolled.join('\n      ')}
    }
    for (let q = 0; q < k - rest; q++) { ${step('(rest + q)', 0)} }
    ${finished.join('\n    ')}
    return ${columns === 1 ? 'r0' : `[${each.map((c) => `r${c}`).join(', ')}]`};`;
  return gpuKernel('matmul', key, args, body, { dimensions: flat ? 1 : 3, results: columns });
}

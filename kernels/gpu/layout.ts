import { dot, type GpuKernel, gpuKernel, integer, integers, once, position } from './source.js';

/** Every number as it is: puts numbers from the host into an array of the device. */
export const identity = gpuKernel('upload', '', { input: 'Host' }, 'return input[this.thread.x];');

export const fill = gpuKernel('fill', '', { value: 'Number' }, 'return value;');

/** x read from an offset on with strides s over a nest of `rank` loops. */
export function copy(rank: number): GpuKernel {
  const args = { input: 'Array', ...integers('n', rank, 1), ...integers('s', rank), offset: 'Integer' } as const;
  return once(`copy ${rank}`, () =>
    gpuKernel('copy', `over ${rank} loops`, args, `${position(rank)}\nreturn input[offset + ${dot('s', rank)}];`),
  );
}

/**
 * What an array is after x was written to its places at offset + i0 s0 + i1 s1 + …, where each stride is larger than all
 * that the loops inside of it reach: x lies with strides t, and n are the sizes of the loops.
 */
export function put(rank: number): GpuKernel {
  const args = {
    before: 'Array',
    input: 'Array',
    ...integers('n', rank),
    ...integers('s', rank),
    ...integers('t', rank),
    offset: 'Integer',
  } as const;
  const lines = ['if (this.thread.x < offset) { return before[this.thread.x]; }'];
  let rest = 'this.thread.x - offset';
  for (let d = 0; d < rank; d++) {
    lines.push(integer(`i${d}`, `divide(${rest}, s${d})`), integer(`r${d}`, `${rest} - i${d} * s${d}`));
    lines.push(`if (i${d} >= n${d}) { return before[this.thread.x]; }`);
    rest = `r${d}`;
  }
  lines.push(`if (${rest} > 0) { return before[this.thread.x]; }`, `return input[${dot('t', rank)}];`);
  return gpuKernel('put', `over ${rank} loops`, args, lines.join('\n'));
}

/** x[index[r], c] for x [.., width]. */
export const rows = gpuKernel(
  'rows',
  '',
  { input: 'Array', index: 'Host', width: 'Integer' },
  `${integer('r', 'divide(this.thread.x, width)')}
    ${integer('from', 'toInteger(index[r])')}
    return input[from * width + this.thread.x - r * width];`,
);

import { dot, type GpuKernel, gpuKernel, integer, integers, position } from './source.js';

/** Every number as it is: puts numbers from the host into an array of the device. */
export const identity = gpuKernel('upload', '', { input: 'Host' }, 'return input[this.thread.x];');

export const fill = gpuKernel('fill', '', { value: 'Number' }, 'return value;');

/** x read with strides s over a nest of `rank` loops. */
export function copy(rank: number): GpuKernel {
  const args = { input: 'Array', ...integers('n', rank, 1), ...integers('s', rank) } as const;
  return gpuKernel('copy', `over ${rank} loops`, args, `${position(rank)}\nreturn input[${dot('s', rank)}];`);
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

/** x[r, index[r]] for x [rows, cols]. */
export const pick = gpuKernel(
  'pick',
  '',
  { input: 'Array', index: 'Array', cols: 'Integer' },
  `${integer('at', 'toInteger(index[this.thread.x])')}
    return input[this.thread.x * cols + at];`,
);

/** x[r] at [r, index[r]], 0 elsewhere. */
export const place = gpuKernel(
  'place',
  '',
  { input: 'Array', index: 'Array', cols: 'Integer' },
  `${integer('r', 'divide(this.thread.x, cols)')}
    if (this.thread.x - r * cols === toInteger(index[r])) { return input[r]; }
    return 0;`,
);

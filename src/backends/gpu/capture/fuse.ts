import { type ArgumentType, type GpuKernel, gpuKernel } from '../../../../kernels/gpu/source.js';
import type { Handle } from '../runtime.js';
import { Cell } from '../storage.js';

// Chains of element-wise kernels in a capture. Where nobody else needs what one gives to the next, one kernel does the work of
// both: it computes the same expressions one after the other, and the numbers on the way stay in registers.

/** A kernel that was queued while a function was captured. */
export interface Launched {
  readonly kernel: GpuKernel;
  readonly threads: readonly number[];
  readonly args: readonly (Cell | Float32Array | number)[];
  readonly cell: Cell;
}

/** A kernel in the place of several: of those that made `outputs`, in their order; the last output is its own. */
export interface Fusion {
  readonly kernel: GpuKernel;
  readonly size: number;
  readonly inputs: readonly Handle[];
  readonly outputs: readonly Handle[];
}

/** An array, as arrays of gpu.js name it: copies of a handle are the same one. */
type Buffer = object;
const bufferOf = (handle: Handle): Buffer => (handle as Handle & { buffer: Buffer }).buffer;

/** An array that an expression reads, at its own place (1) or at the first (0). */
interface Read {
  readonly name: string;
  readonly handle: Handle;
  readonly stride: number;
}

/** An element-wise kernel. */
interface Step {
  readonly op: string;
  readonly expression: string;
  readonly size: number;
  readonly reads: readonly Read[];
  readonly output: Handle;
}

/** WebGPU promises eight arrays a kernel, with the result. */
const MOST_ARRAYS = 7;
/** Longer chains gain little, and take long to compile. */
const MOST_STEPS = 24;

function stepOf({ kernel, threads, args, cell }: Launched): Step | null {
  const { pointwise, op } = kernel;
  if (pointwise === undefined || threads.length !== 1) return null;
  const handles = args.flatMap((a) => (a instanceof Cell ? [a.now!] : []));
  const strides = args.filter((a) => typeof a === 'number');
  const reads = pointwise.names.map((name, i) => ({ name, handle: handles[i], stride: strides[i] ?? 1 }));
  if (reads.some(({ stride }) => stride !== 0 && stride !== 1)) return null;
  return { op, expression: pointwise.expression, size: threads[0], reads, output: cell.now! };
}

/** Finds the chains. @param needed arrays that somebody needs beside the captured function */
export function fusions(launched: readonly Launched[], needed: readonly Handle[]): Fusion[] {
  const outside = new Set(needed.map(bufferOf));
  /** Who reads an array. */
  const readers = new Map<Buffer, Set<Launched>>();
  for (const launch of launched) {
    for (const a of launch.args) {
      if (!(a instanceof Cell)) continue;
      const buffer = bufferOf(a.now!);
      const all = readers.get(buffer) ?? new Set();
      readers.set(buffer, all.add(launch));
    }
  }
  /** The steps of the chain that ends with the step that makes an array. */
  const chains = new Map<Buffer, readonly Step[]>();
  for (const launch of launched) {
    const step = stepOf(launch);
    if (step === null) continue;
    let chain: readonly Step[] = [step];
    for (const buffer of new Set(step.reads.map(({ handle }) => bufferOf(handle)))) {
      const before = chains.get(buffer);
      if (before === undefined || before.at(-1)!.size !== step.size) continue;
      // A number that all places read is made before: by a kernel of its own.
      if (step.reads.some(({ handle, stride }) => bufferOf(handle) === buffer && stride === 0)) continue;
      if (outside.has(buffer) || readers.get(buffer)!.size > 1) continue;
      const longer = [...before, ...chain];
      if (longer.length > MOST_STEPS || inputsOf(longer).size > MOST_ARRAYS) continue;
      chains.delete(buffer);
      chain = longer;
    }
    chains.set(bufferOf(step.output), chain);
  }
  return [...chains.values()].filter((chain) => chain.length > 1).map(fuse);
}

/** What a chain reads from outside of it. */
function inputsOf(chain: readonly Step[]): Map<Buffer, Handle> {
  const made = new Set(chain.map(({ output }) => bufferOf(output)));
  const inputs = new Map<Buffer, Handle>();
  for (const { reads } of chain) {
    for (const { handle } of reads) if (!made.has(bufferOf(handle))) inputs.set(bufferOf(handle), handle);
  }
  return inputs;
}

function fuse(chain: readonly Step[]): Fusion {
  const inputs = inputsOf(chain);
  const arrays = new Map([...inputs.keys()].map((buffer, i) => [buffer, `input${i}`]));
  const values = new Map(chain.map(({ output }, i) => [bufferOf(output), `y${i}`]));
  const lines: string[] = [];
  const given = new Map<string, string>();
  const read = ({ handle, stride }: Read): string => {
    const buffer = bufferOf(handle);
    const value = values.get(buffer);
    if (value !== undefined) return value;
    const place = `${arrays.get(buffer)}[${stride === 0 ? '0' : 'this.thread.x'}]`;
    let name = given.get(place);
    if (name === undefined) {
      name = `g${given.size}`;
      given.set(place, name);
      lines.push(`const ${name} = ${place};`);
    }
    return name;
  };
  for (const [i, { expression, reads }] of chain.entries()) {
    const names = new Map(reads.map((r) => [r.name, read(r)]));
    lines.push(`const y${i} = ${expression.replace(/\b[abx]\b/g, (name) => names.get(name) ?? name)};`);
  }
  lines.push(`return y${chain.length - 1};`);
  const args = Object.fromEntries([...arrays.values()].map((name): [string, ArgumentType] => [name, 'Array']));
  const { op, size } = chain.at(-1)!;
  const body = lines.join('\n');
  return {
    kernel: gpuKernel(op, `and what leads to it, of ${arrays.size}: ${body}`, args, body),
    size,
    inputs: [...inputs.values()],
    outputs: chain.map(({ output }) => output),
  };
}

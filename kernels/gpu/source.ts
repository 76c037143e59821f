// How kernels for gpu.js are written down: as source text, which survives minifiers and coverage instrumentation, with the
// types of their arguments. Every kernel computes one number per thread, or four, from flat arrays; sizes are arguments, so that a
// kernel is compiled once and serves every shape.
import { functions } from './math.js';

/** An array on the device or on the host, an integer or a float. */
export type ArgumentType = 'Array' | 'Host' | 'Integer' | 'Number';

/** A kernel's own shader for WebGPU, for what gpu.js's dialect cannot say, such as memory that a workgroup shares. */
export interface OwnShader {
  /** What gpu.js declares for these arguments; the body relies on it, and runs only where gpu.js agrees. */
  readonly head: string;
  /** The same declarations as the body wants them, and the rest of the shader. */
  readonly code: string;
  /** How many places of the result a workgroup computes, in each dimension. */
  readonly group: readonly [x: number, y: number, z: number];
}

export interface GpuKernel {
  /** The operation, for errors. */
  readonly op: string;
  /** Names the operation and the layout; there is one compiled kernel for each key. */
  readonly key: string;
  readonly source: string;
  readonly types: readonly ArgumentType[];
  /** In how many dimensions its threads are counted. */
  readonly dimensions: 1 | 3;
  /** How many numbers a thread computes, neighbours in the result. */
  readonly results: 1 | 4;
  /** For kernels that compute each number from those at its place: the expression, and its names for the arrays in their order. */
  readonly pointwise?: { readonly expression: string; readonly names: readonly string[] };
  /** What WebGPU runs instead of `source`, with the same arguments, threads and results. */
  readonly shader?: OwnShader;
}

export function gpuKernel(
  op: string,
  layout: string,
  args: Readonly<Record<string, ArgumentType>>,
  body: string,
  { dimensions = 1, results = 1 }: { dimensions?: 1 | 3; results?: 1 | 4 } = {},
): GpuKernel {
  return {
    op,
    key: `${op} ${layout}`,
    source: `function (${Object.keys(args).join(', ')}) {\n${body}\n}`,
    types: Object.values(args),
    dimensions,
    results,
  };
}

const written = /* @__PURE__ */ new Map<string, GpuKernel>();

/** A kernel that is written down once: a training step asks for the same ones over and over, and each is a long text. */
export function once<K extends GpuKernel>(name: string, write: () => K): K {
  let kernel = written.get(name) as K | undefined;
  if (kernel === undefined) {
    kernel = write();
    written.set(name, kernel);
  }
  return kernel;
}

const WGSL: Partial<Record<ArgumentType, string>> = { Integer: 'i32', Number: 'f32' };

/**
 * What gpu.js 2.24 declares at the top of a shader: the numbers that it fills in, then the bindings in their order.
 * @param vectors arrays that are declared as vectors of four instead, for wider loads; `result` names the result
 */
export function shaderHead(
  args: Readonly<Record<string, ArgumentType>>,
  vectors: ReadonlySet<string> = new Set(),
): string {
  const names = Object.keys(args);
  const arrays = names.filter((name) => WGSL[args[name]] === undefined);
  const scalars = names.filter((name) => WGSL[args[name]] !== undefined);
  const element = (name: string) => (vectors.has(name) ? 'vec4<f32>' : 'f32');
  return `struct Params {
  outputX : u32,
  outputY : u32,
  outputZ : u32,
  dispatchWidth : u32,
${[
  ...arrays.map((name) => `  user_${name}_dims : vec4<u32>,`),
  ...scalars.map((name) => `  user_${name} : ${WGSL[args[name]]},`),
].join('\n')}
}
@group(0) @binding(0) var<uniform> params : Params;
${arrays.map((name, i) => `@group(0) @binding(${1 + i}) var<storage, read> user_${name} : array<${element(name)}>;`).join('\n')}
@group(0) @binding(${1 + arrays.length}) var<storage, read_write> result : array<${element('result')}>;
`;
}

/** A function that kernels call. */
export interface GpuFunction {
  readonly name: string;
  readonly source: string;
  /** The types of its arguments by their names. */
  readonly argumentTypes: Readonly<Record<string, ArgumentType>>;
  readonly returnType: ArgumentType;
}

function gpuFunction(source: string, type: ArgumentType, returnType: ArgumentType): GpuFunction {
  const [, name, args] = source.match(/function (\w+)\(([^)]*)\)/)!;
  return { name, source, argumentTypes: Object.fromEntries(args.split(', ').map((a) => [a, type])), returnType };
}

/**
 * Declares a local variable of 32-bit integers. gpu.js makes a float32 of every initialiser, exact to 2^24 only, unless it
 * is a literal and the variable is counted up somewhere.
 */
export function integer(name: string, expression: string): string {
  return `let ${name} = 0; ${name}++; ${name} = ${expression};`;
}

/** gpu.js computes i / n in float32, which is wrong beyond 2^24. Here what the first quotient leaves is divided again, exactly enough. */
const divide = `function divide(i, n) {
  ${integer('first', 'toInteger(Math.floor(i / n))')}
  ${integer('rest', 'i - first * n')}
  ${integer('more', 'toInteger(Math.floor(rest / n))')}
  ${integer('last', 'rest - more * n')}
  if (last < 0) { return first + more - 1; }
  if (last >= n) { return first + more + 1; }
  return first + more;
}`;

export const helpers: readonly GpuFunction[] = [
  gpuFunction('function toInteger(x) { return x; }', 'Number', 'Integer'),
  gpuFunction(divide, 'Integer', 'Integer'),
  ...functions.map((source) => gpuFunction(source, 'Number', 'Number')),
];

/**
 * Declares i0 … i(rank-1), the position of this thread in a nest of loops whose inner sizes are n1 … n(rank-1).
 */
export function position(rank: number): string {
  const lines: string[] = [];
  let rest = 'this.thread.x';
  for (let d = rank - 1; d >= 1; d--) {
    lines.push(integer(`q${d}`, `divide(${rest}, n${d})`), integer(`i${d}`, `${rest} - q${d} * n${d}`));
    rest = `q${d}`;
  }
  lines.push(integer('i0', rest));
  return lines.join('\n');
}

/** Names such as s0 … s(rank-1), as integer arguments. */
export function integers(prefix: string, rank: number, from = 0): Record<string, ArgumentType> {
  return Object.fromEntries(Array.from({ length: rank - from }, (_, i) => [`${prefix}${i + from}`, 'Integer']));
}

/** i0 * s0 + i1 * s1 + … */
export function dot(prefix: string, rank: number): string {
  return Array.from({ length: rank }, (_, d) => `i${d} * ${prefix}${d}`).join(' + ');
}

import { builtin, permitted } from '../../node.js';
import type { EmbeddedKernels } from '../backend.js';
import { core } from './generated/core.js';

/** The builds of kernels/wasm, the faster first: with fused multiply-add, and without. */
export type Build = 'wasm-relaxed-simd' | 'wasm-simd';

/** What kernels/wasm exports: functions of addresses, sizes and numbers, called by name. */
export interface Kernels {
  readonly [name: string]: ((...args: number[]) => number) | undefined;
}

/** A module of one function () -> () with the given body, which validates only if the engine supports its instructions. */
function knows(...body: number[]): boolean {
  const code = [0, ...body, 11];
  const header = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0];
  return WebAssembly.validate(new Uint8Array([...header, 10, code.length + 2, 1, code.length, ...code]));
}

const zero = [0xfd, 12, ...new Array<number>(16).fill(0)]; // v128.const 0
const drop = 26;
const relaxedMadd = [0xfd, 0x85, 0x02]; // f32x4.relaxed_madd

/** The fastest build that runs here, or the reason why none does. */
export function chooseBuild(): { build: Build } | { obstacle: string } {
  if (typeof WebAssembly !== 'object') return { obstacle: 'this JavaScript engine has no WebAssembly' };
  if (!knows(...zero, drop)) return { obstacle: 'this JavaScript engine has no WebAssembly SIMD' };
  return { build: knowsRelaxed() ? 'wasm-relaxed-simd' : 'wasm-simd' };
}

function knowsRelaxed(): boolean {
  const probe = () => knows(...zero, ...zero, ...zero, ...relaxedMadd, drop);
  if (probe()) return true;
  // Node 20's V8 has relaxed SIMD behind a flag, which takes effect from the next compilation on.
  permitted(() => builtin('node:v8')?.setFlagsFromString('--experimental-wasm-relaxed-simd'));
  return probe();
}

/** Compiled kernels, which worker threads instantiate as well. @internal */
export interface Program {
  readonly kernels: Kernels;
  readonly module: WebAssembly.Module;
}

const PAGES = { initial: 64, maximum: 65536 };

/** Compiles the kernels that every program needs, over a memory of their own, which is shared where that is available. @internal */
export function instantiate(build: Build): Program & { readonly memory: WebAssembly.Memory } {
  if (build === 'wasm-relaxed-simd') knowsRelaxed();
  const memory = sharedMemory() ?? new WebAssembly.Memory(PAGES);
  return { ...compile(core, build, memory), memory };
}

/** Compiles embedded kernels over a memory that others use as well. @internal */
export function compile(library: EmbeddedKernels, build: Build, memory: WebAssembly.Memory): Program {
  const bytes = library.decode(library.text, build === 'wasm-relaxed-simd');
  declareShared(bytes, memory.buffer instanceof ArrayBuffer ? 1 : 3);
  const module = new WebAssembly.Module(bytes);
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  return { kernels: instance.exports as unknown as Kernels, module };
}

function sharedMemory(): WebAssembly.Memory | null {
  if (typeof SharedArrayBuffer !== 'function') return null;
  try {
    return new WebAssembly.Memory({ ...PAGES, shared: true });
  } catch {
    return null;
  }
}

/**
 * Writes the flags of the imported memory: 3 for limited and shared, 1 for limited. Nothing else differs between a module
 * for one thread and one for several.
 */
function declareShared(bytes: Uint8Array, flags: number): void {
  const name = [6, ...'memory'].map((c) => (typeof c === 'number' ? c : c.charCodeAt(0)));
  const at = bytes.findIndex((_, i) => name.every((c, j) => bytes[i + j] === c));
  bytes[at + name.length + 1] = flags; // after the import's name and the byte of the kind "memory"
}

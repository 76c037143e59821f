import { builtin, permitted } from '../../node.js';
import { kernels } from './wasm.generated.js';

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

/** A compiled build, which worker threads instantiate as well, over the memory it works on. @internal */
export interface Program {
  readonly kernels: Kernels;
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
}

const PAGES = { initial: 64, maximum: 65536 };

/** Compiles one build of the embedded kernels, over shared memory where it is available. @internal */
export function instantiate(build: Build): Program {
  if (build === 'wasm-relaxed-simd') knowsRelaxed();
  const bytes = expand(build);
  const memory = sharedMemory() ?? new WebAssembly.Memory(PAGES);
  declareShared(bytes, memory.buffer instanceof ArrayBuffer ? 1 : 3);
  const module = new WebAssembly.Module(bytes);
  const instance = new WebAssembly.Instance(module, { env: { memory } });
  return { kernels: instance.exports as unknown as Kernels, module, memory };
}

// The alphabet of the embedded text; kernels/wasm/pack.mjs says what it means.
const SINGLE = 83;
const NO_LETTERS = '"$\'\\`<FM|';

/** The bytes of one build from the embedded text. */
function expand(build: Build): Uint8Array<ArrayBuffer> {
  const places = new Uint8Array(128);
  for (let code = 32, n = 0; code < 127; code++)
    if (!NO_LETTERS.includes(String.fromCharCode(code))) places[code] = n++;
  const bytes = new Uint8Array(2 * kernels.length);
  let size = 0;
  const put = (text: string) => {
    for (let i = 0; i < text.length; i++) {
      const n = places[text.charCodeAt(i)];
      bytes[size++] = n < SINGLE ? n : SINGLE + SINGLE * (n - SINGLE) + places[text.charCodeAt(++i)];
    }
  };
  const add = (...more: number[]) => {
    for (const byte of more) bytes[size++] = byte;
  };
  const withFused = build === 'wasm-relaxed-simd';
  const [start, ...parts] = kernels.split('F');
  put(start);
  for (const part of parts) {
    const [fused, plain, local, rest] = part.split('|');
    put(withFused ? fused : plain);
    for (const [i, piece] of rest.split('M').entries()) {
      if (i > 0 && withFused) add(0xfd, 0x85, 0x02);
      else if (i > 0) {
        add(0x21);
        put(local);
        add(0xfd, 0xe6, 0x01, 0x20);
        put(local);
        add(0xfd, 0xe4, 0x01);
      }
      put(piece);
    }
  }
  return bytes.slice(0, size);
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

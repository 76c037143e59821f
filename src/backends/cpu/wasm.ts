import { wasmBase64 } from './wasm.generated.js';

/** What kernels/wasm exports: functions of addresses, sizes and numbers, called by name. */
export interface Kernels {
  readonly [name: string]: ((...args: number[]) => number) | undefined;
}

// A module of one function whose body is `v128.const 0; drop`: it validates only where SIMD128 is known.
const simdProbe = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 23, 1, 21, 0, 253, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
  0, 0, 0, 0, 0, 0, 26, 11,
];

/** Why the WebAssembly kernels cannot run here, or null where they can. */
export function wasmObstacle(): string | null {
  if (typeof WebAssembly !== 'object') return 'this JavaScript engine has no WebAssembly';
  if (!WebAssembly.validate(new Uint8Array(simdProbe))) return 'this JavaScript engine has no WebAssembly SIMD';
  return null;
}

/** Compiles the embedded kernels over `memory`. */
export function instantiate(memory: WebAssembly.Memory): Kernels {
  const bytes = Uint8Array.from(atob(wasmBase64), (c) => c.charCodeAt(0));
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
  return instance.exports as unknown as Kernels;
}

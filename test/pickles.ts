import { zipSync } from 'fflate';

// PyTorch's checkpoints, written code by code.

/** The bytes of an archive with other contents. */
export const archive = (files: Record<string, Uint8Array>, level: 0 | 9 = 0) => zipSync(files, { level });
/** A pickle of protocol 2 with these opcodes. */
export const pickle = (...codes: (string | number)[]) =>
  Uint8Array.from([0x80, 2, ...codes.flatMap((c) => (typeof c === 'number' ? [c] : [...Buffer.from(c)])), 0x2e]);

export const numbers = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
export const view = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
export const int = (n: number) => [0x4a, n & 255, (n >> 8) & 255, (n >> 16) & 255, n >> 24];
/** Opcodes of a tensor that reads the storage '0' of `size` numbers. */
export const tensorCodes = (size: number, offset: number, shape: number[], strides: number[]): (string | number)[] => [
  ...['ctorch._utils\n_rebuild_tensor_v2\n', '(', '(', 'U', 7, 'storage', 'ctorch\nFloatStorage\n', 'U', 1, '0'],
  ...['U', 3, 'cpu', ...int(size), 't', 'Q', ...int(offset)],
  ...['(', ...shape.flatMap(int), 't', '(', ...strides.flatMap(int), 't', 0x89, '}', 't', 'R'],
];
/** A pickle of dicts, lists and small integers, with 'X' in the place of a tensor of the first two of four numbers. */
export function pickleOf(contents: unknown): Uint8Array {
  const codes = (value: unknown): (string | number)[] => {
    if (value === 'X') return tensorCodes(4, 0, [2], [1]);
    if (typeof value === 'number') return int(value);
    if (Array.isArray(value)) return [']', ...value.flatMap((v) => [...codes(v), 'a'])];
    return ['}', ...Object.entries(value as object).flatMap(([k, v]) => ['U', k.length, k, ...codes(v), 's'])];
  };
  return pickle(...codes(contents));
}

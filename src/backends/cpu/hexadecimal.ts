import { builtin } from '../../node.js';

/** The bytes of one build of a module, from its text; kernels/wasm/pack.mjs says what the letters mean. */
export function decode(text: string, fused: boolean): Uint8Array<ArrayBuffer> {
  const [start, ...parts] = text.split('F');
  let hex = start;
  for (const part of parts) {
    const [withFused, plain, local, rest] = part.split('|');
    hex += fused
      ? withFused + rest.replaceAll('M', 'fd8502')
      : plain + rest.replaceAll('M', `21${local}fde60120${local}fde401`);
  }
  return bytesOf(hex);
}

/** By native code where there is some: a loop takes 4 ms of a cold start. */
function bytesOf(hex: string): Uint8Array<ArrayBuffer> {
  const node = builtin('node:buffer');
  if (node) return new Uint8Array(node.Buffer.from(hex, 'hex'));
  const native = Uint8Array as typeof Uint8Array & { fromHex?(hex: string): Uint8Array<ArrayBuffer> };
  if (native.fromHex) return native.fromHex(hex);
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < hex.length; i++) {
    const code = hex.charCodeAt(i);
    bytes[i >> 1] = (bytes[i >> 1] << 4) | ((code & 15) + (code > 57 ? 9 : 0));
  }
  return bytes;
}

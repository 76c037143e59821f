import { type ArgumentType, type GpuKernel, gpuKernel, integer } from './source.js';

// Philox4x32-10, the same bits as src/random.ts. The words are 32-bit integers that wrap around; products of 32 by 32 bits are
// put together from halves of 16 bits. What does not fit into 31 bits is not written down in the kernel, as WGSL refuses
// constants that overflow: it comes in halves in `state`, with the key and the counter.

const NAMES = ['k0', 'k1', 'c0', 'c1', 'm0', 'm1', 'w0', 'w1'];

/** The high word of m b, where m is a multiplier. */
const high = (name: string, m: string, b: string) =>
  [
    integer(`${name}Low`, `${b} & 65535`),
    integer(`${name}High`, `${b} >>> 16`),
    integer(`${name}First`, `${m}Low * ${name}Low`),
    integer(`${name}Second`, `${m}Low * ${name}High + (${name}First >>> 16)`),
    integer(`${name}Third`, `${m}High * ${name}Low + (${name}Second & 65535)`),
    integer(name, `${m}High * ${name}High + (${name}Second >>> 16) + (${name}Third >>> 16)`),
  ].join('\n');

const SOURCE = `
  ${integer('unit', 'divide(this.thread.x, 4)')}
  ${integer('lane', 'this.thread.x - unit * 4')}
  ${NAMES.map((name, i) =>
    [
      integer(`${name}Low`, `toInteger(state[${2 * i}])`),
      integer(`${name}High`, `toInteger(state[${2 * i + 1}])`),
      integer(name, `(${name}High << 16) | ${name}Low`),
    ].join('\n'),
  ).join('\n')}
  ${integer('moved', 'unit + offset')}
  ${integer('sum', 'c0Low + (moved & 65535)')}
  ${integer('next', 'c0High + (moved >>> 16) + (sum >>> 16)')}
  ${integer('a', '(next << 16) | (sum & 65535)')}
  ${integer('b', 'c1 + (next >>> 16)')}
  ${integer('c', 'a - a')}
  ${integer('d', 'a - a')}
  for (let round = 0; round < 10; round++) {
    ${high('h0', 'm0', 'a')}
    ${high('h1', 'm1', 'c')}
    ${integer('l0', 'm0 * a')}
    ${integer('l1', 'm1 * c')}
    a = (h1 ^ b) ^ k0;
    b = l1;
    c = (h0 ^ d) ^ k1;
    d = l0;
    k0 = k0 + w0;
    k1 = k1 + w1;
  }
  if (lane === 1) { a = b; }
  if (lane === 2) { a = c; }
  if (lane === 3) { a = d; }
  const u = (a >>> 8) * 5.9604644775390625e-8;
  if (keep < 0) { return u; }
  if (u < keep) { return value; }
  return 0;`;

const kernel = (state: ArgumentType): GpuKernel =>
  gpuKernel('uniform', state, { state, offset: 'Integer', keep: 'Number', value: 'Number' }, SOURCE);

/** Uniform numbers for a position that the host knows, and for one that is on the device. */
export const uniform = { host: /* @__PURE__ */ kernel('Host'), device: /* @__PURE__ */ kernel('Array') };

// The kernels in bundles, in the form that gzip packs best: a sixth less than their bytes. The instructions, the numbers of
// locals, the offsets in memory, the other numbers and the constants of all functions are streams of their own, because each
// repeats itself more than their mixture. kernels/wasm/streams.mjs writes the text.

const [START, LOCALS, CODE, NAMES, OFFSETS, NUMBERS, CONSTANTS] = [0, 1, 2, 3, 4, 5, 6];

/**
 * The bytes of one build of a module from its streams, which '|' separates:
 * - what is before the code
 * - the number of functions; for each one a local that it does not have, or 0 if it has no fused multiply-add, and its locals
 * - instructions, with the types of blocks
 * - numbers of locals in instructions; alignments and offsets; other numbers; constants
 * @param fused whether fused multiply-adds stay; else each becomes a product and a sum, which need a further local
 */
export function decode(text: string, fused: boolean): Uint8Array<ArrayBuffer> {
  const at = [0];
  for (let i = 0; i < text.length; i++) if (text[i] === '|') at.push(i + 1);
  const out = new Uint8Array(4 * text.length);
  let end = 0;

  /** Copies a byte of a stream. It is a character, after one of !#% where it is not among the first 84 from 0xfd on. */
  const byte = (stream: number): number => {
    let c = text.charCodeAt(at[stream]++);
    let page = 0;
    if (c < 40) {
      page = 42 * (c - 31);
      c = text.charCodeAt(at[stream]++);
    }
    out[end] = page + c - 43 - Number(c > 92) - Number(c > 96) - Number(c > 124);
    return out[end++];
  };
  const bytes = (stream: number, count: number): void => {
    for (; count > 0; count--) byte(stream);
  };
  /** Copies a number in LEB128. */
  const number = (stream: number): number => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const next = byte(stream);
      value |= (next & 127) << shift;
      if (next < 128) return value;
    }
  };
  /** Reads a number without copying it. */
  const read = (stream: number): number => {
    const before = end;
    const value = number(stream);
    end = before;
    return value;
  };
  const write = (...values: number[]): void => {
    for (const value of values) out[end++] = value;
  };
  /** Writes a number in LEB128, in so many bytes at least. */
  const writeNumber = (value: number, least = 1): void => {
    for (; least > 1 || value > 127; least--, value >>>= 7) write((value & 127) | 128);
    write(value);
  };
  /** Writes what follows its size. */
  const sized = (contents: () => void): void => {
    const start = end;
    end += 4;
    contents();
    const size = end - start - 4;
    end = start;
    writeNumber(size, 4);
    end += size;
  };

  /** Copies an instruction with its operands, and returns its first byte. */
  const instruction = (spare: number): number => {
    const op = byte(CODE);
    const vector = op === 0xfd ? number(CODE) : -1;
    if (vector === 0x105 && !fused) {
      end -= 3;
      write(0x21); // local.set
      writeNumber(spare);
      write(0xfd, 0xe6, 1, 0x20); // f32x4.mul, local.get
      writeNumber(spare);
      write(0xfd, 0xe4, 1); // f32x4.add
    }
    if (op === 0xfd ? vector < 12 || (vector > 83 && vector < 94) : op > 39 && op < 63) {
      number(OFFSETS);
      number(OFFSETS);
    }
    if (vector === 12 || vector === 13) bytes(CONSTANTS, 16);
    else if ((vector > 20 && vector < 35) || (vector > 83 && vector < 92)) byte(NUMBERS);
    else if (op === 0xfc) {
      const further = number(CODE);
      if (further > 9) bytes(NUMBERS, 12 - further); // memory.copy and memory.fill
    } else if ((op > 1 && op < 5) || op === 63 || op === 64) byte(CODE);
    else if (op > 31 && op < 37) number(NAMES);
    else if (op === 12 || op === 13 || op === 16 || op === 65 || op === 66) number(NUMBERS);
    else if (op === 67 || op === 68) bytes(CONSTANTS, 4 * (op - 66));
    return op;
  };
  const body = (): void => {
    const spare = read(LOCALS);
    const groups = read(LOCALS);
    const split = spare > 0 && !fused;
    writeNumber(groups + Number(split));
    for (let i = 0; i < groups; i++) {
      number(LOCALS);
      byte(LOCALS);
    }
    if (split) write(1, 0x7b); // one v128
    for (let depth = 1; depth > 0; ) {
      const op = instruction(spare);
      if (op > 1 && op < 5) depth++;
      else if (op === 11) depth--;
    }
  };

  while (text[at[START]] !== '|') byte(START);
  write(10);
  sized(() => {
    for (let left = number(LOCALS); left > 0; left--) sized(body);
  });
  return out.slice(0, end);
}

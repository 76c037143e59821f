// One text for two builds. It is the module in hexadecimal, which gzip packs better than base64, as bytes stay apart. What
// differs between the builds is written in other letters:
//
//   F<fused>|<plain>|<local>|<rest>   the bytes of the build with fused multiply-adds, or those without, and then the rest,
//                                     in which M stands for f32x4.relaxed_madd, or for these instructions without it:
//                                     local.set <local>  f32x4.mul  local.get <local>  f32x4.add

const MADD = 'fd8502';
const CODE = 10;

const hex = (bytes) => Buffer.from(bytes).toString('hex');

/** Unsigned LEB128. */
export function leb(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
}

export class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }
  number() {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.bytes[this.at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value >>> 0;
    }
  }
  skip(bytes) {
    this.at += bytes;
  }
  vector(read) {
    return Array.from({ length: this.number() }, () => read());
  }
}

/** Where each section's contents begin and end, by its number. */
function sections(bytes) {
  const reader = new Reader(bytes, 8);
  const found = new Map();
  while (reader.at < bytes.length) {
    const start = reader.at;
    const id = bytes[reader.at++];
    const size = reader.number();
    found.set(id, { start, contents: reader.at, end: reader.at + size });
    reader.skip(size);
  }
  return found;
}

/** How many parameters each function of the module has. */
function parameterCounts(bytes, found) {
  const types = new Reader(bytes, found.get(1).contents);
  const counts = types.vector(() => {
    types.skip(1); // "function"
    const parameters = types.number();
    types.skip(parameters);
    types.skip(types.number());
    return parameters;
  });
  const functions = new Reader(bytes, found.get(3).contents);
  return functions.vector(() => counts[functions.number()]);
}

/** Where the section of the code is, and how many parameters each function has. */
export function fields(bytes) {
  const found = sections(bytes);
  return { code: found.get(CODE), parameters: parameterCounts(bytes, found) };
}

/** The instructions in hexadecimal, cut where there is a fused multiply-add. */
function cut(bytes) {
  const pieces = [];
  const instruction = Buffer.from(MADD, 'hex');
  let from = 0;
  for (let at = bytes.indexOf(instruction); at >= 0; at = bytes.indexOf(instruction, from)) {
    pieces.push(hex(bytes.subarray(from, at)));
    from = at + instruction.length;
  }
  return [...pieces, hex(bytes.subarray(from))];
}

/** The text of a module compiled with relaxed SIMD, and how many fused multiply-adds it has. */
export function pack(module) {
  const bytes = Buffer.from(module);
  const found = sections(bytes);
  const parameters = parameterCounts(bytes, found);
  const code = found.get(CODE);
  const reader = new Reader(bytes, code.contents);
  let [rest, grown, fused] = ['', 0, 0];
  const amount = reader.number();
  const first = hex(bytes.subarray(code.contents, reader.at));
  for (let i = 0; i < amount; i++) {
    const start = reader.at;
    const end = reader.number() + reader.at;
    const groups = reader.vector(() => {
      const locals = reader.number();
      return [locals, bytes[reader.at++]];
    });
    const pieces = cut(bytes.subarray(reader.at, end));
    if (pieces.length === 1) {
      rest += hex(bytes.subarray(start, end));
    } else {
      // Its operands are on the stack, the summand on top: without the instruction the summand waits in a local of its own.
      const local = hex(leb(groups.reduce((sum, [locals]) => sum + locals, parameters[i])));
      const declared = [
        ...leb(groups.length + 1),
        ...[...groups, [1, 0x7b]].flatMap(([locals, type]) => [...leb(locals), type]),
      ];
      const instructions = pieces.join(spelled(local)).length / 2;
      const size = leb(declared.length + instructions);
      rest += `F${hex(bytes.subarray(start, reader.at))}|${hex([...size, ...declared])}|${local}|${pieces.join('M')}`;
      grown += size.length + declared.length + instructions - (end - start);
      fused += pieces.length - 1;
    }
    reader.at = end;
  }
  const size = code.end - code.contents;
  const head = `F${hex([CODE, ...leb(size)])}|${hex([CODE, ...leb(size + grown)])}||`;
  return { text: hex(bytes.subarray(0, code.start)) + head + first + rest + hex(bytes.subarray(code.end)), fused };
}

const spelled = (local) => `21${local}fde60120${local}fde401`;

/** The bytes of one build; src/backends/cpu/hexadecimal.ts has the same for where this file is not. */
export function expand(text, withFused) {
  const [start, ...parts] = text.split('F');
  let all = start;
  for (const part of parts) {
    const [fused, plain, local, rest] = part.split('|');
    all += withFused ? fused + rest.replaceAll('M', MADD) : plain + rest.replaceAll('M', spelled(local));
  }
  return Buffer.from(all, 'hex');
}

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
function leb(value) {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
}

class Reader {
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

/** The bytes of one build; src/backends/cpu/wasm.ts has the same for where this file is not. */
export function expand(text, withFused) {
  const [start, ...parts] = text.split('F');
  let all = start;
  for (const part of parts) {
    const [fused, plain, local, rest] = part.split('|');
    all += withFused ? fused + rest.replaceAll('M', MADD) : plain + rest.replaceAll('M', spelled(local));
  }
  return Buffer.from(all, 'hex');
}

// For bundles, which are compressed, the text is made denser: a frequent byte is one character, any other is two. gzip packs
// that by an eighth better than hexadecimal. Node decodes hexadecimal faster, so its files keep that.
//
//   <the frequent bytes in hexadecimal> <space> <text>   in which F, M and | stay

/** The characters for bytes: printable, and the same in every kind of quotes. */
const characters = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).filter(
  (c) => !'\\\'"`$FM|!#%'.includes(c),
);

const tokens = (text) => text.match(/[FM|]|[0-9a-f]{2}/g);
const everyByte = Array.from({ length: 256 }, (_, i) => hex([i]));

/** The bytes of a text in hexadecimal that deserve one character, the most frequent first. */
export function frequentBytes(text) {
  const counts = new Map(everyByte.map((byte) => [byte, 0]));
  for (const token of tokens(text)) if (counts.has(token)) counts.set(token, counts.get(token) + 1);
  return [...everyByte].sort((a, b) => counts.get(b) - counts.get(a)).slice(0, characters.length);
}

/** The dense form of a text; src/backends/cpu/wasm.ts reads it. */
export function condense(text, frequent) {
  const n = characters.length;
  const spelled = new Map(frequent.map((byte, i) => [byte, characters[i]]));
  const rare = everyByte.filter((byte) => !spelled.has(byte));
  rare.forEach((byte, i) => {
    spelled.set(byte, '!#%'[Math.floor(i / n)] + characters[i % n]);
  });
  const body = tokens(text).map((token) => spelled.get(token) ?? token);
  return `${frequent.join('')} ${body.join('')}`;
}

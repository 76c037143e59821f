// The form of kernels that bundles have; src/backends/cpu/streams.ts reads it, and says what is in it.
import { fields, leb, Reader } from './pack.mjs';

const MADD = 0x105;

/** The text of a module compiled with relaxed SIMD. */
export function toStreams(module) {
  const bytes = Buffer.from(module);
  const { parameters, code } = fields(bytes);
  if (code.end !== bytes.length) throw new Error('something is behind the code');
  const streams = {
    start: [...bytes.subarray(0, code.start)],
    locals: [],
    code: [],
    names: [],
    offsets: [],
    numbers: [],
    constants: [],
  };
  const reader = new Reader(bytes, code.contents);
  const take = (stream, count) => {
    for (let i = 0; i < count; i++) streams[stream].push(bytes[reader.at++]);
  };
  const number = (stream) => {
    const from = reader.at;
    const value = reader.number();
    streams[stream].push(...bytes.subarray(from, reader.at));
    return value;
  };
  const count = number('locals');
  for (let i = 0; i < count; i++) {
    const end = reader.number() + reader.at;
    const head = reader.at;
    const groups = reader.vector(() => {
      const locals = reader.number();
      reader.skip(1);
      return locals;
    });
    const declared = bytes.subarray(head, reader.at);
    let fused = false;
    while (reader.at < end) fused = instruction(bytes[reader.at], take, number) === MADD || fused;
    const spare = groups.reduce((sum, locals) => sum + locals, parameters[i]);
    streams.locals.push(...leb(fused ? spare : 0), ...declared);
  }
  return Object.values(streams)
    .map((stream) => stream.map(character).join(''))
    .join('|');
}

/** Takes an instruction; returns its number if it works on vectors. test/kernels-text.test.ts decodes all. */
function instruction(op, take, number) {
  take('code', 1);
  if (op === 0xfd) {
    const vector = number('code');
    if (vector < 12 || (vector > 83 && vector < 94)) {
      number('offsets');
      number('offsets');
    }
    if (vector === 12 || vector === 13) take('constants', 16);
    else if ((vector > 20 && vector < 35) || (vector > 83 && vector < 92)) take('numbers', 1);
    return vector;
  }
  if (op === 0xfc) {
    const further = number('code');
    if (further > 9) take('numbers', 12 - further); // memory.copy and memory.fill
  } else if ((op > 1 && op < 5) || op === 63 || op === 64) take('code', 1);
  else if (op === 12 || op === 13 || op === 16 || op === 65 || op === 66) number('numbers');
  else if (op > 31 && op < 37) number('names');
  else if (op > 39 && op < 63) {
    number('offsets');
    number('offsets');
  } else if (op === 67) take('constants', 4);
  else if (op === 68) take('constants', 8);
  return null;
}

/** Characters that are printable, and the same in every kind of quotes. */
const characters = Array.from({ length: 87 }, (_, i) => String.fromCharCode(40 + i)).filter((c) => !'\\`|'.includes(c));

function character(byte) {
  const at = (byte + 3) & 255;
  const n = characters.length;
  return ['', '!', '#', '%'][Math.floor(at / n)] + characters[at % n];
}

import { refuse } from '../errors.js';

// JSON from strangers.

/** From this length on, the nesting is looked at before the text is parsed: V8 takes seconds for millions of open brackets. */
const LARGE = 2 ** 18;
/** The limit on nested lists and objects. */
const DEEPEST = 128;
/** What the nesting depends on. Those at odd indices open a list or object. */
const MARKS = ['"', '[', ']', '{', '}'];

/** The index of the quote that ends a string; -1 if none does. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start); end >= 0; end = text.indexOf('"', end + 1)) {
    let before = end;
    while (text[before - 1] === '\\') before--;
    // An even number of backslashes stands for backslashes; with an odd one, the last escapes the quote.
    if ((end - before) % 2 === 0) return end;
  }
  return -1;
}

/** Goes from mark to mark by indexOf, which is native code: a scan by character takes a quarter of the time of parsing. */
function checkDepth(text: string): void {
  const next = MARKS.map((mark) => text.indexOf(mark));
  let depth = 0;
  for (;;) {
    let first = -1;
    for (let i = 0; i < next.length; i++) if (next[i] >= 0 && (first < 0 || next[i] < next[first])) first = i;
    if (first < 0) return;
    let at = next[first];
    if (first === 0) {
      at = endOfString(text, at + 1);
      if (at < 0) return;
    } else if (first % 2 === 0) depth--;
    else if (++depth > DEEPEST) refuse(`the JSON is nested more than ${DEEPEST} deep`, 'send a flat list of numbers');
    for (let i = 0; i < next.length; i++) if (next[i] >= 0 && next[i] <= at) next[i] = text.indexOf(MARKS[i], at + 1);
  }
}

const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true });

/** Parses JSON in UTF-8. @throws RequestError for anything else */
export function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    // TextDecoder does not accept shared memory.
    text = decoder.decode(bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice());
  } catch {
    refuse('the body is not UTF-8', 'send JSON in UTF-8');
  }
  if (text.length >= LARGE) checkDepth(text);
  try {
    return JSON.parse(text);
  } catch {
    // V8's message quotes the body, which must not be logged.
    return refuse('the body is not JSON', 'send a JSON object in UTF-8; NaN and Infinity are not JSON');
  }
}

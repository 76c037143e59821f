import { refuse } from '../errors.js';

// JSON from strangers.

/** From this size on, the nesting is looked at before the text is parsed: V8 takes seconds for millions of open brackets. */
const LARGE = 2 ** 18;
/** The limit on nested lists and objects. */
const DEEPEST = 128;
const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [34, 92, 91, 93, 123, 125];

function checkDepth(bytes: Uint8Array): void {
  let depth = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === QUOTE) {
      for (i++; i < bytes.length && bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i++;
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++depth > DEEPEST) refuse(`the JSON is nested more than ${DEEPEST} deep`, 'send a flat list of numbers');
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
  }
}

const decoder = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true });

/** Parses JSON in UTF-8. @throws RequestError for anything else */
export function parseJson(bytes: Uint8Array): unknown {
  if (bytes.length >= LARGE) checkDepth(bytes);
  let text: string;
  try {
    // TextDecoder does not accept shared memory.
    text = decoder.decode(bytes.buffer instanceof ArrayBuffer ? bytes : bytes.slice());
  } catch {
    refuse('the body is not UTF-8', 'send JSON in UTF-8');
  }
  try {
    return JSON.parse(text);
  } catch {
    // V8's message quotes the body, which must not be logged.
    return refuse('the body is not JSON', 'send a JSON object in UTF-8; NaN and Infinity are not JSON');
  }
}

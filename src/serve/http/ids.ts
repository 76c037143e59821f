import type { Version } from '../repository/index.js';
import type { Answer } from '../workers/messages.js';

/** Longer ids cannot be named in feedback. */
const LONGEST = 200;
const ID = ',"id":';

/** What comes before the id in the responses of each version. */
const starts = /* @__PURE__ */ new WeakMap<Pick<Version, 'name' | 'version'>, Buffer>();

function startOf(version: Pick<Version, 'name' | 'version'>): Buffer {
  let start = starts.get(version);
  if (start === undefined) {
    const { name, version: number } = version;
    start = Buffer.from(`{"model_name":${JSON.stringify(name)},"model_version":${JSON.stringify(number)}${ID}`);
    starts.set(version, start);
  }
  return start;
}

/**
 * The id that the client gave to a request of the Open Inference Protocol; null if it gave none. It is read from the start of
 * the response that a worker encoded, because this thread does not parse requests.
 */
export function idInAnswer({ body }: Pick<Answer, 'body'>, version: Pick<Version, 'name' | 'version'>) {
  const start = startOf(version);
  // Each character of an id takes at most six bytes in JSON.
  const length = Math.min(body.byteLength, start.length + 6 * LONGEST + 3);
  const bytes = Buffer.from(body.buffer, body.byteOffset, length);
  if (length < start.length || bytes.compare(start, 0, start.length, 0, start.length) !== 0) return null;
  const string = /^"(?:[^"\\]|\\.)*"/.exec(bytes.toString('utf8', start.length));
  return string === null ? null : (JSON.parse(string[0]) as string);
}

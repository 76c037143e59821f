import type { Version } from '../repository/index.js';
import type { Answer } from '../workers/messages.js';

/** Longer ids cannot be named in feedback. */
const LONGEST = 200;
const ID = ',"id":';

/**
 * The id that the client gave to a request of the Open Inference Protocol; null if it gave none. It is read from the start of
 * the response that a worker encoded, because this thread does not parse requests.
 */
export function idInAnswer({ body }: Pick<Answer, 'body'>, { name, version }: Pick<Version, 'name' | 'version'>) {
  const before = `{"model_name":${JSON.stringify(name)},"model_version":${JSON.stringify(version)}${ID}`;
  const start = Buffer.byteLength(before);
  // Each character of an id takes at most six bytes in JSON.
  const end = start + 6 * LONGEST + 3;
  const text = Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, end)).toString();
  if (!text.startsWith(before)) return null;
  const string = /^"(?:[^"\\]|\\.)*"/.exec(text.slice(before.length));
  return string === null ? null : (JSON.parse(string[0]) as string);
}

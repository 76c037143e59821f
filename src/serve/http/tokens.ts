import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, fail } from '../../errors.js';

// Access control by bearer tokens: a JSON file contains their hashes.

/** A bearer token and its permissions, as in a token file. */
export interface Token {
  /** The name of the client, for logs. */
  readonly name: string;
  /** The SHA-256 hash of the token, 64 hexadecimal digits. */
  readonly sha256: string;
  /** The names of the models it can access. Default: all. */
  readonly models?: readonly string[];
  /** The limit on requests per second. Default: none. */
  readonly rateLimit?: number;
  /** Whether it has access to the admin port. Default false. */
  readonly admin?: boolean;
}

const OP = 'serve';

/** Checks tokens. @throws TapegradError naming the first invalid one */
export function checkTokens(value: unknown): readonly Token[] {
  const wrong = (problem: string): never =>
    fail(
      OP,
      problem,
      'a token is {"name", "sha256": hex of its SHA-256, "models"?: […], "rateLimit"?: per second, "admin"?: true}',
    );
  if (!Array.isArray(value) || value.length === 0) wrong('the tokens are not a nonempty list');
  const names = new Set<string>();
  const owners = new Map<string, string>();
  (value as unknown[]).forEach((entry, i) => {
    if (typeof entry !== 'object' || entry === null) wrong(`token ${i} is ${describe(entry)}`);
    const { name, sha256, models, rateLimit, admin, ...others } = entry as Record<string, unknown>;
    if (typeof name !== 'string' || name === '') wrong(`token ${i} has no name`);
    // The value is not shown: it may be the token itself.
    if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/i.test(sha256))
      wrong(`token '${name}' has no SHA-256 of 64 hexadecimal digits`);
    if (models !== undefined && !(Array.isArray(models) && models.every((m) => typeof m === 'string')))
      wrong(`token '${name}' has models that are not a list of names`);
    if (rateLimit !== undefined && !(Number.isInteger(rateLimit) && (rateLimit as number) >= 1))
      wrong(`token '${name}' has the rateLimit ${describe(rateLimit)}`);
    if (admin !== undefined && typeof admin !== 'boolean') wrong(`token '${name}' has the admin ${describe(admin)}`);
    if (Object.keys(others).length > 0) wrong(`token '${name}' has an unknown ${Object.keys(others)[0]}`);
    if (names.has(name as string)) wrong(`two tokens have the name '${name}', the second is token ${i}`);
    const hash = (sha256 as string).toLowerCase();
    if (owners.has(hash)) wrong(`the tokens '${owners.get(hash)}' and '${name}' are the same`);
    names.add(name as string);
    owners.set(hash, name as string);
  });
  return value as Token[];
}

/**
 * Reads a token file: a JSON list of {@link Token}.
 *
 * @param path the file name
 * @returns the tokens, for the option `tokens` of serve
 * @throws TapegradError if the file cannot be read, or is not a list of valid tokens
 * @example
 * ```ts
 * import { createHash } from 'node:crypto';
 * import { writeFileSync } from 'node:fs';
 * import { readTokens } from 'tapegrad/serve';
 *
 * const sha256 = createHash('sha256').update('secret').digest('hex');
 * writeFileSync('tokens.json', JSON.stringify([{ name: 'shop', sha256, rateLimit: 100 }]));
 * console.log((await readTokens('tokens.json'))[0].name); // 'shop'
 * ```
 */
export async function readTokens(path: string): Promise<readonly Token[]> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    fail(OP, `cannot read the tokens in ${path}`, 'it must be a JSON file that exists', { cause });
  }
  return checkTokens(json);
}

/** Finds the entry of a token, in constant time to prevent timing attacks. */
export function tokenFinder(tokens: readonly Token[]): (token: string) => Token | null {
  const hashes = tokens.map((t) => Buffer.from(t.sha256, 'hex'));
  return (token) => {
    const hash = createHash('sha256').update(token).digest();
    let found: Token | null = null;
    for (const [i, known] of hashes.entries()) if (timingSafeEqual(hash, known)) found = tokens[i];
    return found;
  };
}

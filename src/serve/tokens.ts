import { createHash, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, fail } from '../errors.js';

// Who may come in: a JSON file of tokens, of which only hashes are kept.

/** A bearer token as the file has it. */
export interface Token {
  /** For logs. */
  readonly name: string;
  /** SHA-256 of the token, hexadecimal. */
  readonly sha256: string;
  /** The models it may ask. Default: all. */
  readonly models?: readonly string[];
  /** Requests in a second. Default: any number. */
  readonly rateLimit?: number;
  /** Whether it opens the admin port. Default false. */
  readonly admin?: boolean;
}

const OP = 'serve';

/** Checks tokens. @throws TapegradError naming the first that is wrong */
export function checkTokens(value: unknown): readonly Token[] {
  const wrong = (problem: string): never =>
    fail(
      OP,
      problem,
      'a token is {"name", "sha256": hex of its SHA-256, "models"?: […], "rateLimit"?: per second, "admin"?: true}',
    );
  if (!Array.isArray(value) || value.length === 0) wrong('the tokens are no list, or an empty one');
  (value as unknown[]).forEach((entry, i) => {
    if (typeof entry !== 'object' || entry === null) wrong(`token ${i} is ${describe(entry)}`);
    const { name, sha256, models, rateLimit, admin, ...others } = entry as Record<string, unknown>;
    if (typeof name !== 'string' || name === '') wrong(`token ${i} has no name`);
    // Whatever stands there instead of a hash may be the token itself.
    if (typeof sha256 !== 'string' || !/^[0-9a-f]{64}$/i.test(sha256))
      wrong(`token '${name}' has no SHA-256 of 64 hexadecimal digits`);
    if (models !== undefined && !(Array.isArray(models) && models.every((m) => typeof m === 'string')))
      wrong(`token '${name}' has models that are no list of names`);
    if (rateLimit !== undefined && !(Number.isInteger(rateLimit) && (rateLimit as number) >= 1))
      wrong(`token '${name}' has the rateLimit ${describe(rateLimit)}`);
    if (admin !== undefined && typeof admin !== 'boolean') wrong(`token '${name}' has the admin ${describe(admin)}`);
    if (Object.keys(others).length > 0) wrong(`token '${name}' has an unknown ${Object.keys(others)[0]}`);
  });
  return value as Token[];
}

/** Tokens from a file. @throws TapegradError if it cannot be read or has others */
export async function readTokens(path: string): Promise<readonly Token[]> {
  let json: unknown;
  try {
    json = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    fail(OP, `cannot read the tokens in ${path}`, 'it must be a JSON file that exists', { cause });
  }
  return checkTokens(json);
}

/** Finds the token that a bearer shows, in a time that does not depend on which it is. */
export function tokenFinder(tokens: readonly Token[]): (shown: string) => Token | null {
  const hashes = tokens.map((t) => Buffer.from(t.sha256, 'hex'));
  return (shown) => {
    const hash = createHash('sha256').update(shown).digest();
    let found: Token | null = null;
    for (const [i, known] of hashes.entries()) if (timingSafeEqual(hash, known)) found = tokens[i];
    return found;
  };
}

import { describe, expect, it } from 'vitest';
import { parseJson } from '../../src/serve/protocol/json.js';

describe('JSON from strangers', () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const long = JSON.stringify('x'.repeat(300_000));
  const lists = (depth: number) => '['.repeat(depth) + ']'.repeat(depth);

  it.each<[string, string]>([
    ['128 lists', lists(127)],
    ['lists side by side', `[${Array(1000).fill(lists(126)).join()}]`],
    ['brackets in strings', JSON.stringify('['.repeat(1000))],
    ['brackets after an escaped quote', JSON.stringify(`"${'{'.repeat(1000)}`)],
    ['brackets between strings that end in backslashes', `["\\\\", ${lists(126)}, "\\\\"]`],
    ['closing brackets in strings', `[${JSON.stringify(']'.repeat(10))}, ${lists(126)}]`],
  ])('may have %s', (_, json) => {
    const text = `[${long}, ${json}]`;
    expect(parseJson(bytes(text))).toEqual(JSON.parse(text));
  });
  it.each<[string, string]>([
    ['129 lists', lists(128)],
    ['objects and lists', '{"a":['.repeat(70) + ']}'.repeat(70)],
    ['lists that brackets in strings do not close', `["]]]", ${lists(127)}]`],
    ['lists after a string that ends in backslashes', `["\\\\\\\\", ${lists(127)}]`],
    ['a million lists without an end', '['.repeat(1_000_000)],
  ])('may not have %s', (_, json) => {
    expect(() => parseJson(bytes(`[${long}, ${json}]`))).toThrow('nested more than 128 deep');
  });
  it.each([`[${long}`, `[${long}, "abc`, `[${long}, "abc\\"`, `${long}]`])('is refused when it is cut off', (text) => {
    expect(() => parseJson(bytes(text))).toThrow('the body is not JSON');
  });
});

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
// @ts-expect-error: a script without types
import { counterparts, page } from '../docs/pytorch-names.mjs';

it('docs/pytorch.md is what the docstrings say; npm run docs:names writes it', () => {
  expect(readFileSync('docs/pytorch.md', 'utf8')).toBe(page());
});

it('finds names of every kind: methods, functions, classes of namespaces', () => {
  const found = new Map((counterparts() as [string, string, string][]).map(([theirs, , ours]) => [ours, theirs]));
  expect(found.get('Tensor.softmax')).toBe('torch.softmax');
  expect(found.get('zeros')).toBe('torch.zeros');
  expect(found.get('nn.Linear')).toBe('torch.nn.Linear');
  expect(found.get('nn.functional.crossEntropy')).toBe('torch.nn.functional.cross_entropy');
});

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { tensor } from '../src/index.js';
import { load, save } from '../src/io/index.js';

// Beside io.test.ts: these tests need the built package or git, and the mutation runs do without them.

it('a save that is killed leaves the old file', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'm.safetensors');
  await save({ a: tensor([1]) }, path);
  // A process that dies between writing and renaming.
  const script = `import fs from 'node:fs'; import { tensor } from 'tapegrad'; import { save } from 'tapegrad/io';
    fs.promises.rename = () => process.kill(process.pid, 'SIGKILL');
    await save({ a: tensor([2]) }, ${JSON.stringify(path)});`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
  expect(child.signal, child.stderr).toBe('SIGKILL');
  expect((await load(path)).a.toArraySync()).toEqual([1]);

  // What it left behind goes with the next save; files of the user, of other hosts and of running processes stay.
  const folder = dirname(path);
  expect(readdirSync(folder).filter((f) => f.endsWith('.tmp'))).toHaveLength(1);
  const others = [
    'm.safetensors.mine.tmp',
    'm.safetensors.elsewhere-1-a.tmp',
    `m.safetensors.${hostname()
      .replace(/[^\w-]/g, '')
      .slice(0, 32)}-1-a.tmp`,
  ];
  for (const name of [...others, 'n.safetensors.elsewhere-1-a.tmp']) writeFileSync(join(folder, name), '');
  await save({ a: tensor([3]) }, path);
  const left = ['m.safetensors', ...others, 'n.safetensors.elsewhere-1-a.tmp'];
  expect(readdirSync(folder).sort()).toEqual(left.sort());
  // After an hour, no host writes them any more.
  const old = new Date(Date.now() - 4_000_000);
  for (const name of left) utimesSync(join(folder, name), old, old);
  await save({ a: tensor([4]) }, path);
  expect(readdirSync(folder).sort()).toEqual(['m.safetensors', others[0], 'n.safetensors.elsewhere-1-a.tmp']);
});

describe('without Node', () => {
  it('the sources import no node: module but for types', () => {
    const sources = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'src'], { encoding: 'utf8' })
      .trim()
      .split('\n');
    // Servers and commands live in Node only.
    const inNode = /^src\/(cli|serve|deploy)\//;
    for (const path of sources.filter((p) => p.endsWith('.ts') && !inNode.test(p))) {
      expect(readFileSync(path, 'utf8').match(/^import (?!type).*'node:.*$/m)?.[0] ?? '', path).toBe('');
    }
  });
});

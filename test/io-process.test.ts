import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

// The examples in docstrings: those that import the package are whole programs, which compile and run.

/** The programs in the docstrings of a file. */
function programs(path: string): string[] {
  return [...readFileSync(path, 'utf8').matchAll(/@example\n\s*\* ```ts\n([\s\S]*?)\n\s*\* ```/g)]
    .map((match) => match[1].replace(/^\s*\* ?/gm, ''))
    .filter((program) => program.includes("from 'tapegrad"));
}

const dir = mkdtempSync(join(resolve('test'), '.examples-'));
afterAll(() => rmSync(dir, { recursive: true }));
const sources = readdirSync('src', { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));
const names = sources.flatMap((path) =>
  programs(join('src', path)).map((program, i) => {
    const name = `${path.replace(/[^a-z0-9]+/gi, '-')}-${i}.ts`;
    writeFileSync(join(dir, name), program);
    return name;
  }),
);

describe('the examples in docstrings', () => {
  it('are found', () => expect(names.length).toBeGreaterThan(50));
  it('compile', { timeout: 120_000 }, () => {
    const compilerOptions = { noEmit: true, noUnusedLocals: false, noUnusedParameters: false };
    writeFileSync(
      join(dir, 'tsconfig.json'),
      JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'], exclude: [] }),
    );
    const tsc = spawnSync(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '-p', dir], {
      encoding: 'utf8',
    });
    expect(tsc.stdout).toBe('');
  });
  it('run', { timeout: 120_000 }, () => {
    const all = names.map((name) => `console.log('${name}');\nawait import('./${name}');`);
    writeFileSync(join(dir, 'all.mts'), all.join('\n'));
    const options = { cwd: dir, encoding: 'utf8', stdio: 'pipe' } as const;
    const output = execFileSync(process.execPath, ['--import', 'tsx', 'all.mts'], options);
    expect(output).toContain(names.at(-1));
  });
});

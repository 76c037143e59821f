import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

const tracked = execFileSync('git', ['ls-files', '-co', '--exclude-standard'], { encoding: 'utf8' }).trim().split('\n');
const sources = tracked.filter((path) => /^(src|kernels)\/.*\.ts$/.test(path) && !path.endsWith('.generated.ts'));

// Lower layers first; a file imports values from its own layer and those before it. Types may point anywhere.
const layers: RegExp[][] = [
  [/^src\/(errors|shape|layout|random|node|print)\.ts$/, /^src\/optional\//, /^kernels\//],
  [/^src\/backends\//],
  [/^src\/(tensor|lifetime)\.ts$/],
  [/^src\/autograd\/(?!gradcheck|index)/],
  [/^src\/ops\//],
  [/^src\/(methods|create|values|autograd\/(gradcheck|index))\.ts$/],
  [/^src\/(nn|optim|data|metrics)\//],
  [/^src\/io\//],
  [/^src\/(train\/|(profile|compile)\.ts$)/],
  [/^src\/index\.ts$/],
  [/^src\/(client|deploy)\//],
  [/^src\/serve\//],
  [/^src\/cli\//],
];
const layerOf = (path: string) => layers.findIndex((patterns) => patterns.some((p) => p.test(path)));

describe('the layout', () => {
  it('gives every source a layer', () => {
    expect(sources.filter((path) => layerOf(path) < 0)).toEqual([]);
  });
  it('has imports that point one way', () => {
    const wrong: string[] = [];
    for (const path of sources.filter((p) => p.startsWith('src/'))) {
      for (const [, target] of readFileSync(path, 'utf8').matchAll(
        /^(?:import|export)(?! type).*?from '(\.[^']+)';$/gms,
      )) {
        const to = normalize(join(dirname(path), target.replace(/\.js$/, '.ts')));
        if (to.endsWith('.generated.ts')) continue;
        if (layerOf(to) > layerOf(path)) wrong.push(`${path} imports ${to}`);
      }
    }
    expect(wrong).toEqual([]);
  });
  it('keeps kernels free of everything above them', () => {
    for (const path of sources.filter((p) => p.startsWith('kernels/'))) {
      expect(readFileSync(path, 'utf8').match(/from '\.\.\/\.\.\/src[^']*'/)?.[0] ?? '', path).toBe('');
    }
  });
  it('imports gpu.js in one file, and only when it is asked for', () => {
    const using = (pattern: RegExp) => sources.filter((path) => pattern.test(readFileSync(path, 'utf8')));
    expect(using(/from 'gpu\.js'|import\('gpu\.js'\)/)).toEqual(['src/optional/gpu.ts']);
    expect(using(/from 'gpu\.js'/)).toEqual([]);
  });
  it('keeps files under 400 lines', () => {
    const long = [...sources, ...tracked.filter((p) => /^(test|bench|docs)\/.*\.ts$/.test(p))].filter(
      (path) => readFileSync(path, 'utf8').split('\n').length > 400,
    );
    expect(long).toEqual([]);
  });
  it('keeps the top level as it is fixed', () => {
    const top = new Set(tracked.map((p) => p.split('/')[0]));
    const allowed = [
      '.ci',
      '.gitignore',
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'LICENSE',
      'README.md',
      'bench',
      'biome.json',
      'docs',
      'kernels',
      'package-lock.json',
      'package.json',
      'src',
      'test',
      'tsconfig.build.json',
      'tsconfig.json',
      'typedoc.json',
      'vitest.config.ts',
      'vitest.mutation.config.ts',
      'stryker.config.json',
    ];
    expect([...top].filter((name) => !allowed.includes(name))).toEqual([]);
  });
});

import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import commonJs from '@rollup/plugin-commonjs';
import nodeResolve from '@rollup/plugin-node-resolve';
import { build as esbuild } from 'esbuild';
import { type Plugin, rollup } from 'rollup';
import { build as vite } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import webpack from 'webpack';

// Apps that bundle the built package, with the optional packages and without them; `npm test` builds it first.

const root = mkdtempSync(join(tmpdir(), 'tapegrad-'));
const missing = join(root, 'missing');
const installed = join(root, 'installed');

/** Reaches for both optional packages, and says what came of it. */
const everything = `
import * as tapegrad from 'tapegrad';
import * as io from 'tapegrad/io';
const { nn, tensor, useDevice } = tapegrad;
Object.defineProperty(globalThis, 'navigator', { value: { gpu: {} }, configurable: true });
const outcome = (promise) => promise.then(() => 'well', (error) => error.message);
console.log(Object.keys(tapegrad).length > 0, Object.keys(io).length > 0, tensor([1, 2]).sum().itemSync());
// Twice, as a module that has failed once may be another one the second time.
console.log(await outcome(useDevice('gpu')), await outcome(useDevice('gpu')));
console.log(await outcome(io.exportOnnx(new nn.Linear(1, 1), [1, 1], 'model.onnx')));
`;
const training = `
import { nn, optim, tensor } from 'tapegrad';
const [x, y] = [tensor([[0], [1], [2], [3]]), tensor([[1], [3], [5], [7]])];
const model = new nn.Linear(1, 1);
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
for (let step = 0; step < 500; step++) {
  nn.functional.mseLoss(model.forward(x), y).backward();
  optimizer.step();
  optimizer.zeroGrad();
}
console.log(model.weight.itemSync().toFixed(2));
`;
/** Little enough that the methods of tensors could be left out. */
const little = `
import { tensor } from 'tapegrad';
console.log(tensor([1, 2]).mul(2).sum().itemSync());
`;
/** As in a browser: the kernels are read without Node's Buffer. */
const inBrowser = (fromHex: string) => `
process.getBuiltinModule = undefined;
Uint8Array.fromHex = ${fromHex};
const { tensor, useDevice } = await import('tapegrad');
console.log((await useDevice('cpu')).backend, tensor([[1, 2]]).matmul(tensor([[3], [4]])).itemSync());
`;
/** CommonJS, as the real ones are, and quick to bundle. */
const stand = {
  'gpu.js': "exports.GPU = class { constructor() { throw new Error('gpu.js is here'); } };",
  'onnx-proto': "exports.onnx = new Proxy({}, { get() { throw new Error('onnx-proto is here'); } });",
};

function makeApp(dir: string, packages: Record<string, string>): void {
  const modules = join(dir, 'node_modules');
  mkdirSync(modules, { recursive: true });
  for (const path of ['dist', 'package.json']) cpSync(path, join(modules, 'tapegrad', path), { recursive: true });
  for (const name of ['csv-parse', 'fflate', 'pickleparser'])
    symlinkSync(resolve('node_modules', name), join(modules, name));
  for (const [name, source] of Object.entries(packages)) {
    mkdirSync(join(modules, name));
    writeFileSync(join(modules, name, 'index.js'), source);
    writeFileSync(join(modules, name, 'package.json'), JSON.stringify({ name, version: '9.9.9', main: 'index.js' }));
  }
  for (const [name, source] of Object.entries({ everything, training, little }))
    writeFileSync(join(dir, `${name}.mjs`), source);
}

beforeAll(() => {
  makeApp(missing, {});
  makeApp(installed, stand);
});
afterAll(() => rmSync(root, { recursive: true }));

/** Bundles dir/name.mjs for a browser into dir/out, and tells the warnings. */
type Bundler = (dir: string, name: string, out: string) => Promise<string[]>;

const byEsbuild: Bundler = async (dir, name, out) => {
  const { warnings } = await esbuild({
    entryPoints: [join(dir, `${name}.mjs`)],
    outdir: join(dir, out),
    outExtension: { '.js': '.mjs' },
    absWorkingDir: dir,
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    logLevel: 'silent',
  });
  return warnings.map(({ text }) => text);
};

const byRollup =
  (external: string[] = []): Bundler =>
  async (dir, name, out) => {
    const warnings: string[] = [];
    const bundle = await rollup({
      input: join(dir, `${name}.mjs`),
      external,
      // Their types say that they are CommonJS, which they are not.
      plugins: [nodeResolve, commonJs].map((plugin) => (plugin as unknown as (options?: object) => Plugin)()),
      onwarn: ({ code, ids, message }) => {
        const others = code === 'CIRCULAR_DEPENDENCY' && ids!.every((id) => id.includes('csv-parse'));
        if (!others) warnings.push(message);
      },
    });
    await bundle.write({ dir: join(dir, out), entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' });
    return warnings;
  };

const byWebpack: Bundler = (dir, name, out) =>
  new Promise((settle, reject) => {
    const filename = '[name].mjs';
    const output = { path: join(dir, out), filename, chunkFilename: filename, module: true, chunkFormat: 'module' };
    const options: webpack.Configuration = {
      mode: 'production',
      context: dir,
      entry: { [name]: `./${name}.mjs` },
      output: { ...output, chunkLoading: 'import' },
      experiments: { outputModule: true },
      optimization: { minimize: false }, // for speed
      performance: false,
    };
    webpack(options, (error, stats) => {
      if (error) return reject(error);
      const { errors, warnings } = stats!.toJson({ all: false, errors: true, warnings: true });
      settle([...errors!, ...warnings!].map(({ message }) => message));
    });
  });

const byVite: Bundler = async (dir, name, out) => {
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const nothing = () => {};
  const log = { info: nothing, warn, warnOnce: warn, error: warn, clearScreen: nothing };
  const names = { entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' };
  await vite({
    root: dir,
    configFile: false,
    customLogger: { ...log, hasErrorLogged: () => false, hasWarned: false },
    build: { outDir: out, modulePreload: false, rolldownOptions: { input: join(dir, `${name}.mjs`), output: names } },
  });
  return warnings;
};

const bundlers: [string, Bundler][] = [
  ['esbuild', byEsbuild],
  ['Rollup', byRollup()],
  ['webpack', byWebpack],
  ['Vite', byVite],
];
const run = (dir: string, file: string) =>
  execFileSync(process.execPath, [file], { cwd: dir, encoding: 'utf8' }).trim();

function expectFound(said: string): void {
  expect(said).toMatch(/^true true 3\n/);
  expect(said.match(/webgpu: gpu\.js is here/g)).toHaveLength(2);
  expect(said).toMatch(/\nonnx-proto is here$/);
}
function expectMissed(said: string): void {
  expect(said).toMatch(/^true true 3\n/);
  expect(said.match(/webgpu: the package gpu\.js does not load \(.*?\); webgl2:/g)).toHaveLength(2);
  expect(said).toMatch(/\n\[exportOnnx\] the package onnx-proto does not load; run npm install onnx-proto$/);
}

describe('an app with the optional packages', () => {
  it('finds them in Node', () => expectFound(run(installed, 'everything.mjs')));
  it.each(bundlers)('is bundled with them and without a warning by %s', async (name, bundle) => {
    expect(await bundle(installed, 'everything', name)).toEqual([]);
    // They are in the bundle: where they were installed there is nothing any more.
    const elsewhere = mkdtempSync(join(root, 'elsewhere-'));
    cpSync(join(installed, name), elsewhere, { recursive: true });
    expectFound(run(elsewhere, 'everything.mjs'));
  });
});

describe('an app without the optional packages', () => {
  it('says so in Node', () => expectMissed(run(missing, 'everything.mjs')));
  it.each(
    bundlers.filter(([name]) => name !== 'Rollup'),
  )('is bundled without a warning by %s', async (name, bundle) => {
    expect(await bundle(missing, 'everything', name)).toEqual([]);
    expectMissed(run(missing, join(name, 'everything.mjs')));
  });
  it('is bundled by Rollup, which warns unless it is told what the README says', async () => {
    expect(await byRollup()(missing, 'everything', 'Rollup')).toEqual([
      expect.stringMatching(/^"onnx-proto" is imported by .* could not be resolved/),
      expect.stringMatching(/^"gpu\.js" is imported by .* could not be resolved/),
    ]);
    expectMissed(run(missing, 'Rollup/everything.mjs'));
    expect(await byRollup(['gpu.js', 'onnx-proto'])(missing, 'everything', 'told')).toEqual([]);
    expectMissed(run(missing, 'told/everything.mjs'));
  });
});

describe('a small app', () => {
  it.each(bundlers)('trains, and has the methods of tensors, when it was bundled by %s', async (name, bundle) => {
    for (const [app, expected] of [
      ['training', '2.00'],
      ['little', '6'],
    ]) {
      const out = `${name}-${app}`;
      expect(await bundle(installed, app, out)).toEqual([]);
      expect(run(installed, join(out, `${app}.mjs`))).toBe(expected);
    }
  });
  it.each([
    ['an old browser', 'undefined'],
    ['a browser with Uint8Array.fromHex', "(hex) => new Uint8Array(Buffer.from(hex, 'hex'))"],
  ])('reads its kernels in %s', (_, fromHex) => {
    const file = join(installed, 'browser.mjs');
    writeFileSync(file, inBrowser(fromHex));
    expect(run(installed, file)).toMatch(/^wasm-(relaxed-)?simd 11$/);
  });
  it('that trains a Linear with SGD takes at most 50 kB', async () => {
    await byVite(installed, 'training', 'size');
    const chunks = readdirSync(join(installed, 'size'), { recursive: true, encoding: 'utf8' }).filter((file) =>
      file.endsWith('.mjs'),
    );
    const sizes = chunks.map((file) => gzipSync(readFileSync(join(installed, 'size', file)), { level: 9 }).length);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(50_000);
  });
  // esbuild keeps all of an exported namespace such as `nn`, used or not.
  it('takes at most 75 kB from esbuild', async () => {
    const { outputFiles } = await esbuild({
      entryPoints: [join(installed, 'training.mjs')],
      bundle: true,
      minify: true,
      format: 'esm',
      write: false,
    });
    expect(gzipSync(outputFiles[0].contents, { level: 9 }).length).toBeLessThanOrEqual(75_000);
  });
});

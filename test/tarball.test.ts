import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import terser from '@rollup/plugin-terser';
import { build } from 'esbuild';
import { rollup } from 'rollup';
import { build as vite } from 'vite';
import { beforeAll, describe, expect, it } from 'vitest';
import { core as kernels } from '../src/backends/cpu/generated/core.js';
import { onGpu } from './gpu/device.js';

// The packed tarball in an empty folder, as a stranger installs it.

const dir = mkdtempSync(join(tmpdir(), 'tapegrad-'));
const run = (command: string, args: string[], cwd = dir) =>
  execFileSync(command, args, { cwd, encoding: 'utf8' }).trim();

const program = `
import { nn, optim, tensor, type Tensor } from 'tapegrad';
import { fromSafetensors, toSafetensors } from 'tapegrad/io';
const model = new nn.Sequential(new nn.Linear(2, 3), new nn.Tanh(), new nn.Linear(3, 1));
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
const x: Tensor = tensor([[1, 2], [3, 4]]);
const first = new nn.MSELoss().forward(model.forward(x), tensor([[1], [2]]));
first.backward();
optimizer.step();
const second = new nn.MSELoss().forward(model.forward(x), tensor([[1], [2]]));
const { tensors } = fromSafetensors(await toSafetensors(model.stateDict()));
console.log(second.itemSync() < first.itemSync(), Object.keys(tensors).join());
`;
const serverProgram = `
import { deploySageMaker, readTokens, type ServeOptions, type Server, sageMakerRequests, serve } from 'tapegrad/serve';
import { InferenceClient } from 'tapegrad/serve/client';
import 'tapegrad/serve/worker';
export async function ask(options: ServeOptions): Promise<Float32Array> {
  const server: Server = await serve({ ...options, tokens: await readTokens('tokens.json') });
  // @ts-expect-error a server has no such thing, so its type is known
  server.nothing;
  return (await new InferenceClient(server.url).infer('small', [[1, 2]])).data;
}
export const deploy = [deploySageMaker, sageMakerRequests];
`;
/** Uses everything, so that everything is bundled. */
const everything = `
import * as tapegrad from 'tapegrad';
import * as io from 'tapegrad/io';
console.log(Object.keys(tapegrad).length > 0, Object.keys(io).length > 0, tapegrad.tensor([1, 2]).sum().itemSync());
`;
/** Its types say that it is CommonJS, which it is not. */
const minify = terser as unknown as typeof terser.default;

/** Broadcasting, a product, a fold and functions that kernels call. */
const gpuProgram = `
import { noGrad, tensor, useDevice } from 'tapegrad';
const { type } = await useDevice('gpu');
const x = tensor([[1, 2], [3, 4]]);
const y = noGrad(() => x.matmul(tensor([[1, 0], [0, 2]])).add(tensor([2, 3])).exp().log().sum(1));
console.log(type, (await y.data()).map(Math.round).join());
`;
const expected = 'true 0.weight,0.bias,2.weight,2.bias';

beforeAll(() => {
  run('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', dir], resolve('.'));
  const tarball = readdirSync(dir).find((name) => name.endsWith('.tgz'))!;
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ name: 'stranger', private: true, type: 'module' }));
  run('npm', ['install', '--no-audit', '--no-fund', '--silent', `./${tarball}`]);
  writeFileSync(join(dir, 'program.ts'), program);
}, 120_000);

describe('the packed tarball', () => {
  it('holds the build and nothing of the workshop', () => {
    const root = join(dir, 'node_modules/tapegrad');
    expect(readdirSync(root).sort()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'dist', 'package.json']);
    expect(existsSync(join(root, 'dist/src/index.d.ts'))).toBe(true);
  });
  it.each([
    ['in a browser', { lib: ['ES2022', 'DOM'], types: [] }],
    ['in Node', { lib: ['ES2022'], types: ['node'], typeRoots: [resolve('node_modules/@types')] }],
  ])('is type-checked by a strict program %s, without our settings and without optional packages', (_, settings) => {
    for (const name of ['fastify', 'prom-client', 'typebox', '@aws-sdk', '@opentelemetry', 'gpu.js', 'onnx-proto'])
      expect(existsSync(join(dir, 'node_modules', name)), name).toBe(false);
    const options = {
      strict: true,
      module: 'NodeNext',
      target: 'ES2022',
      noEmit: true,
      skipLibCheck: false,
      ...settings,
    };
    const config = { compilerOptions: options, include: ['program.ts', 'server.ts'] };
    writeFileSync(join(dir, 'server.ts'), serverProgram);
    writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify(config));
    const tsc = [resolve('node_modules/typescript/bin/tsc'), '-p', '.'];
    expect(spawnSync(process.execPath, tsc, { cwd: dir, encoding: 'utf8' }).stdout).toBe('');
  });
  it.each(['node', 'browser'] as const)('is bundled and minified for %s, and the bundle runs', async (platform) => {
    const outfile = join(dir, `${platform}.mjs`);
    const result = await build({
      entryPoints: [join(dir, 'program.ts')],
      bundle: true,
      minify: true,
      format: 'esm',
      target: 'es2022',
      platform,
      outfile,
      absWorkingDir: dir,
      logLevel: 'silent',
    });
    expect(result.warnings).toEqual([]);
    expect(run(process.execPath, [outfile])).toBe(expected);
  });
  describe('is bundled for a browser without a warning', () => {
    const entry = join(dir, 'everything.js');
    beforeAll(() => writeFileSync(entry, everything));
    const printed = (file: string) => run(process.execPath, [file]);

    it('by esbuild', async () => {
      const options = {
        bundle: true,
        format: 'esm',
        platform: 'browser',
        logLevel: 'silent',
        splitting: true,
      } as const;
      const outdir = join(dir, 'esbuild');
      const { warnings } = await build({ entryPoints: [entry], outdir, absWorkingDir: dir, ...options });
      expect(warnings).toEqual([]);
      writeFileSync(join(outdir, 'package.json'), '{ "type": "module" }');
      expect(printed(join(outdir, 'everything.js'))).toBe('true true 3');
    });
    it('by Rollup, which is told what is optional as the README says', async () => {
      const warnings: string[] = [];
      const resolver = {
        name: 'exports',
        resolveId: (id: string) =>
          /^tapegrad/.test(id) ? join(dir, 'node_modules', id.replace('tapegrad', 'tapegrad/dist'), 'index.js') : null,
      };
      const bundle = await rollup({
        input: entry,
        plugins: [resolver],
        external: ['gpu.js', 'onnx-proto', 'csv-parse/sync', 'fflate', 'pickleparser'],
        onwarn: ({ message }) => warnings.push(message),
      });
      await bundle.write({ dir: join(dir, 'rolled'), entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' });
      expect(warnings).toEqual([]);
      expect(printed(join(dir, 'rolled/everything.mjs'))).toBe('true true 3');
    });
    it('by Vite', async () => {
      const warnings: string[] = [];
      const warn = (message: string) => void warnings.push(message);
      const nothing = () => {};
      const log = { info: nothing, warn, warnOnce: warn, error: warn, clearScreen: nothing };
      await vite({
        root: dir,
        configFile: false,
        customLogger: { ...log, hasErrorLogged: () => false, hasWarned: false },
        build: { outDir: 'vite', rolldownOptions: { input: entry, output: { entryFileNames: '[name].mjs' } } },
      });
      expect(warnings).toEqual([]);
      expect(existsSync(join(dir, 'vite/everything.mjs'))).toBe(true);
    });
  });
  it('says what to install for the GPU', () => {
    const ask = "import { useDevice } from 'tapegrad'; useDevice('gpu').catch((e) => console.log(e.message));";
    const answer = run(process.execPath, ['--input-type=module', '-e', ask]);
    expect(answer).toMatch(
      /^\[useDevice\] .*webgpu: the package webgpu does not load.*; run npm install webgpu gpu\.js$/,
    );
    const auto = "import { useDevice } from 'tapegrad'; console.log(JSON.stringify(await useDevice('auto')));";
    const info = JSON.parse(run(process.execPath, ['--input-type=module', '-e', auto])) as Record<string, string>;
    expect(info.type).toBe('cpu');
    expect(info.reason).toContain('no GPU: webgpu: the package webgpu does not load');
  });
  it('has a command, which says what a server needs', () => {
    const tapegrad = (...args: string[]) =>
      spawnSync(process.execPath, ['node_modules/tapegrad/dist/cli/index.js', ...args], { cwd: dir, encoding: 'utf8' });
    expect(tapegrad('--version').stdout).toBe('0.1.0\n');
    const { status, stderr } = tapegrad('serve', '--models', '.');
    expect(status).toBe(2);
    expect(stderr).toMatch(/^\[serve\] a package does not load: .*; run npm install fastify .*typebox\n$/);
  });
  onGpu('runs GPU kernels from a bundle that was minified', async () => {
    const entry = join(dir, 'gpu.js');
    writeFileSync(entry, gpuProgram);
    for (const name of ['gpu.js', 'webgpu'])
      symlinkSync(resolve('node_modules', name), join(dir, 'node_modules', name));
    const outfile = join(dir, 'esbuild.mjs');
    const options = { bundle: true, minify: true, format: 'esm', packages: 'external', logLevel: 'silent' } as const;
    const alias = { tapegrad: join(dir, 'node_modules/tapegrad/dist/index.js') };
    await build({ entryPoints: [entry], outfile, absWorkingDir: dir, alias, ...options });
    const resolver = { name: 'alias', resolveId: (id: string) => (id === 'tapegrad' ? alias.tapegrad : null) };
    const bundle = await rollup({
      input: entry,
      plugins: [resolver],
      external: /^(gpu\.js|webgpu)$/,
      logLevel: 'silent',
    });
    await bundle.write({ dir: join(dir, 'rollup'), plugins: [minify({ module: true })], entryFileNames: '[name].mjs' });
    const env = { ...process.env, NODE_OPTIONS: '' };
    for (const file of [outfile, join(dir, 'rollup/gpu.mjs')]) {
      const args = ['--import', 'tsx', '--import', resolve('test/gpu/preload.ts'), file];
      expect(execFileSync(process.execPath, args, { cwd: resolve('.'), encoding: 'utf8', env }).trim()).toBe(
        'gpu 10,16',
      );
    }
  });
  it('leaves out of a bundle what is not used', async () => {
    const sizeOf = async (source: string) => {
      const { outputFiles } = await build({
        stdin: { contents: source, resolveDir: dir },
        bundle: true,
        minify: true,
        format: 'esm',
        write: false,
        logLevel: 'silent',
      });
      return outputFiles[0].contents.length - (outputFiles[0].text.includes(kernels.text) ? kernels.text.length : 0);
    };
    const whole = await sizeOf("export * from 'tapegrad';");
    const core = await sizeOf("import { tensor } from 'tapegrad'; console.log(tensor([1]).add(1));");
    expect(core).toBeLessThan(whole * 0.9);
    expect(await sizeOf("import 'tapegrad';")).toBeLessThan(100);
  });
});

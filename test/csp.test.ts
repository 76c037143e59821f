import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { TestBrowser } from './browser/browser.js';
import { builtFiles } from './browser/files.js';

// What runs slower than it could says so, once: under a Content-Security-Policy, and wherever else something is missing.

const ISOLATED = { 'cross-origin-opener-policy': 'same-origin', 'cross-origin-embedder-policy': 'require-corp' };
const policies = {
  strict: { 'content-security-policy': "default-src 'self'" },
  workerless: { 'content-security-policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'", ...ISOLATED },
  sufficient: {
    'content-security-policy': "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src blob:",
    ...ISOLATED,
  },
};

/** Enough work for workers to be started, then turns of the event loop for as long as the test wants. */
const program = `
import { getNumThreads, randn, setNumThreads, useDevice } from '/POLICY/dist/index.js';
globalThis.work = async (size) => {
  setNumThreads(2);
  const a = randn([size, size]);
  for (let i = 0; i < 10; i++) a.matmul(a);
  const sum = await a.sum().item();
  return { sum, threads: getNumThreads(), info: await useDevice('cpu') };
};
globalThis.threads = async () => ({ threads: getNumThreads(), info: await useDevice('cpu') });
`;

interface Said {
  readonly threads: number;
  readonly info: { readonly backend: string; readonly name: string; readonly reason: string };
}
declare global {
  var work: (size: number) => Promise<Said & { readonly sum: number }>;
  var threads: () => Promise<Said>;
}

const files = builtFiles();
for (const policy of Object.keys(policies)) {
  files.set(`${policy}.js`, program.replace('POLICY', policy));
  files.set(`${policy}.html`, `<!doctype html><script type="module" src="/${policy}/${policy}.js"></script>`);
}
const browser = await TestBrowser.start(files, policies).catch((error: Error) => {
  if (process.env.CI === 'true') throw error;
  process.stderr.write(`pages with a Content-Security-Policy are not looked at: ${error.message}\n`);
  return null;
});
afterAll(() => browser?.close());

/** A page under a policy, and what the library has written to its console. */
async function under(policy: keyof typeof policies) {
  const { page, complaints } = await browser!.visit(browser!.address(`${policy}/${policy}.html`));
  await page.waitForFunction(() => globalThis.work !== undefined);
  return { page, warnings: () => complaints.filter((text) => text.startsWith('tapegrad: ')) };
}

describe.skipIf(browser === null)('a page whose Content-Security-Policy', () => {
  it('forbids WebAssembly computes in plain JavaScript, and says so once with the remedy', async () => {
    const { page, warnings } = await under('strict');
    expect(warnings()).toEqual([]);
    const { info, sum, threads } = await page.evaluate(() => globalThis.work(20));
    await page.evaluate(() => globalThis.work(20));
    expect(Number.isFinite(sum)).toBe(true);
    expect(threads).toBe(1);
    expect(info.backend).toBe('reference');
    expect(info.reason).toMatch(
      /^plain JavaScript, because .*Content-Security-Policy .* script-src .*'wasm-unsafe-eval'$/,
    );
    expect(warnings()).toEqual([`tapegrad: operations take up to 50 times longer, as they run in ${info.reason}`]);
  });
  it('forbids workers goes on with one thread, and says so once with the remedy', async () => {
    const { page, warnings } = await under('workerless');
    const { info, sum } = await page.evaluate(() => globalThis.work(800));
    expect(Number.isFinite(sum)).toBe(true);
    expect(info.backend).toBe('wasm-relaxed-simd');
    await expect.poll(async () => (await page.evaluate(() => globalThis.threads())).threads).toBe(1);
    const after = (await page.evaluate(() => globalThis.threads())).info;
    expect(after.name).toBe('one CPU thread');
    expect(after.reason).toMatch(/one thread, because a worker thread .*Content-Security-Policy .*blob: .*worker-src$/);
    await page.evaluate(() => globalThis.work(800));
    expect(warnings()).toHaveLength(1);
    expect(warnings()[0]).toMatch(
      /^tapegrad: operations run on one thread instead of 2, because .*blob: .*worker-src$/,
    );
  });
  it('permits both computes with threads, and says nothing', async () => {
    const { page, warnings } = await under('sufficient');
    const { info, threads } = await page.evaluate(() => globalThis.work(800));
    expect([info.backend, threads]).toEqual(['wasm-relaxed-simd', 2]);
    expect(warnings()).toEqual([]);
  });
});

/** Runs a program with the built package after some preparation of its globals; resolves to what it wrote. */
async function node(before: string, code: string, env: Record<string, string> = {}) {
  const dist = JSON.stringify(resolve('dist/index.js'));
  const source = `${before}; const { ${names} } = await import(${dist}); ${code}`;
  const options = { env: { ...process.env, ...env }, timeout: 60_000 };
  const { stdout, stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', source],
    options,
  );
  return { out: stdout.trim(), warnings: stderr.split('\n').filter((line) => line.startsWith('tapegrad: ')) };
}
const names = 'data, fit, getNumThreads, nn, noGrad, optim, randn, tensor, useDevice';

describe('a program in Node', () => {
  it('without WebAssembly says so once, and not before it computes', async () => {
    const without = 'delete globalThis.WebAssembly';
    expect(await node(without, 'console.log(typeof tensor)')).toEqual({ out: 'function', warnings: [] });
    const code = "for (let i = 0; i < 3; i++) tensor([1, 2]).sum(); console.log((await useDevice('cpu')).reason)";
    expect(await node(without, code)).toEqual({
      out: 'plain JavaScript, because this JavaScript engine has no WebAssembly',
      warnings: [
        'tapegrad: operations take up to 50 times longer, as they run in plain JavaScript, because this JavaScript engine has no WebAssembly',
      ],
    });
  });
  it('that may not start workers says so once', async () => {
    const without = `
      const load = process.getBuiltinModule;
      process.getBuiltinModule = (name) => (name === 'node:worker_threads' ? { Worker: class { constructor() { throw new Error('refused'); } } } : load(name));`;
    const code = `
      const a = randn([800, 800]);
      for (let i = 0; i < 10; i++) a.matmul(a);
      console.log(getNumThreads());`;
    expect(await node(without, code, { TAPEGRAD_THREADS: '3' })).toEqual({
      out: '1',
      warnings: [
        'tapegrad: operations run on one thread instead of 3, because a worker thread did not start: Error: refused',
      ],
    });
  });
  it('on all it can have says nothing', async () => {
    const code = 'const a = randn([800, 800]); for (let i = 0; i < 10; i++) a.matmul(a); console.log(getNumThreads());';
    expect(await node('', code, { TAPEGRAD_THREADS: '2' })).toEqual({ out: '2', warnings: [] });
  });
});

/** What Deno's Node compatibility does without any permission: names of the environment are refused one by one. */
const DENIED = `
  class NotCapable extends Error { name = 'NotCapable' }
  const refuse = (what) => { throw new NotCapable(\`Requires \${what}\`) };
  // Node's own loader reads the environment, too.
  const { env } = process;
  const get = (_, name) => (String(name).startsWith('TAPEGRAD') ? refuse(\`env access to "\${name}"\`) : env[name]);
  Object.defineProperty(process, 'env', { value: new Proxy({}, { get }) });
  const load = process.getBuiltinModule;
  process.getBuiltinModule = (name) => {
    const real = load(name);
    if (name === 'node:os') return { ...real, availableParallelism: () => refuse('sys access') };
    if (name === 'node:v8') return { ...real, setFlagsFromString: () => refuse('flags') };
    if (name === 'node:module') return { ...real, createRequire: () => refuse('read access') };
    return real;
  };
  Object.defineProperty(process.stderr, 'isTTY', { value: true });
  Object.defineProperty(globalThis, 'navigator', { value: { hardwareConcurrency: 3 }, configurable: true });`;

/** Everything that asks the runtime for something: threads, workers, contexts of noGrad, a progress bar. */
const CURIOUS = `
  import { data, fit, getNumThreads, nn, noGrad, optim, randn, useDevice } from 'DIST';
  console.log(getNumThreads());
  const a = randn([800, 800]);
  for (let i = 0; i < 10; i++) a.matmul(a);
  await noGrad(async () => a.sum());
  const inputs = randn([8, 2]);
  const train = new data.DataLoader(new data.TensorDataset(inputs, inputs), { batchSize: 4 });
  const model = new nn.Linear(2, 2);
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
  const history = await fit(model, { train, loss: new nn.MSELoss(), optimizer, epochs: 2 });
  console.log((await useDevice('cpu')).type, history !== undefined);
`;

describe('a program without permissions', () => {
  it('computes where each of them is refused by an error, as in Deno', async () => {
    const code = CURIOUS.replace(/import .*;/, '');
    // Node without its flag has no relaxed SIMD in version 20, which is no reason to warn.
    expect(await node(DENIED, code)).toEqual({ out: '3\ncpu true', warnings: [] });
  });
  const deno = ['node_modules/.bin/deno', process.env.DENO_PATH ?? ''].find((path) => {
    try {
      return path !== '' && readFileSync(path).length > 0;
    } catch {
      return false;
    }
  });
  if (deno === undefined) process.stderr.write('Deno is emulated: it is not there; DENO_PATH may name it\n');
  it.skipIf(deno === undefined)('computes in Deno', async () => {
    const child = promisify(execFile)(deno!, ['run', '--no-prompt', '--no-lock', '-'], { timeout: 60_000 });
    child.child.stdin!.end(CURIOUS.replace('DIST', new URL('../dist/index.js', import.meta.url).href));
    expect((await child).stdout).toMatch(/^\d+\ncpu true\n$/);
  });
});

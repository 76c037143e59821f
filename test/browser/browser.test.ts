import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { difference } from '../close.js';
import { TestBrowser } from './browser.js';
import type * as Parity from './parity.js';
import type * as Program from './program.js';

// Headless Chromium on WebGPU, on WebGL2 and on the CPU, with and without shared memory.

declare global {
  var parity: typeof Parity.parity;
  var limit: typeof Parity.limit;
  var train: typeof Program.train;
}

async function bundled(entry: string, minify: boolean): Promise<string> {
  const path = fileURLToPath(new URL(entry, import.meta.url));
  const alias = { tapegrad: fileURLToPath(new URL('../../dist/index.js', import.meta.url)) };
  const options = { alias, bundle: true, format: 'esm', target: 'es2022', write: false, logLevel: 'silent' } as const;
  // The sources are marked as free of side effects, and `methods.ts` has one that the parity cases need.
  const { outputFiles } = await build({ entryPoints: [path], minify, ignoreAnnotations: !minify, ...options });
  return outputFiles[0].text;
}

async function start(): Promise<TestBrowser | string> {
  const files = new Map([
    ['parity.js', await bundled('parity.ts', false)],
    ['program.js', await bundled('program.ts', true)],
  ]);
  try {
    return await TestBrowser.start(files);
  } catch (error) {
    if (process.env.CI === 'true') throw error;
    return (error as Error).message;
  }
}

const browser = await start();
if (typeof browser === 'string') process.stderr.write(`browser tests are skipped: ${browser}\n`);
const inBrowser = it.skipIf(typeof browser === 'string');
afterAll(() => (typeof browser === 'string' ? undefined : browser.close()));

const open = (script: string, isolated = false) => (browser as TestBrowser).open(script, isolated);
type Run = Awaited<ReturnType<typeof Program.train>>;

describe('every row of the op table, forward and backward', () => {
  inBrowser.each(['webgpu', 'webgl2'] as const)('equals the reference on %s', async (mode) => {
    const page = await open('parity.js');
    const { info, count, wrong } = await page.evaluate((m) => globalThis.parity(m), mode);
    expect(info).toMatchObject({ type: 'gpu', backend: mode });
    expect(count).toBeGreaterThan(250);
    expect(wrong).toEqual([]);
  });
});

describe('WebGL2', () => {
  inBrowser('is right up to 2^24 numbers, and refuses more', async () => {
    const page = await open('parity.js');
    const { message, wrong } = await page.evaluate(() => globalThis.limit());
    expect(wrong).toBe(0);
    expect(message).toMatch(/^\[fill\] an array of \d+ bytes on WebGL, whose shaders count to 16777216; /);
  });
});

describe('the built and minified package trains', () => {
  let expected: Run;
  beforeAll(async () => {
    if (typeof browser === 'string') return;
    const page = await open('program.js');
    expected = await page.evaluate(() => globalThis.train('cpu'));
  });
  inBrowser('on the cpu without shared memory, and says so', () => {
    expect(expected.info).toMatchObject({ type: 'cpu', backend: 'wasm-relaxed-simd' });
    expect(expected.threads).toBe(1);
    expect(expected.losses[49]).toBeLessThan(expected.losses[0] * 0.9);
  });
  inBrowser('with threads in a page that is isolated from others, to the same bits', async () => {
    const page = await open('program.js', true);
    expect(await page.evaluate(() => globalThis.crossOriginIsolated)).toBe(true);
    const { losses, threads } = await page.evaluate(() => globalThis.train('cpu'));
    expect(threads).toBe(await page.evaluate(() => navigator.hardwareConcurrency));
    expect(losses).toEqual(expected.losses);
  });
  inBrowser.each([
    ['webgpu', false],
    ['webgl2', true],
  ] as const)('on %s, along the trajectory of the cpu', async (mode, withoutWebGpu) => {
    const page = await open('program.js');
    const { info, losses } = await page.evaluate((without) => globalThis.train('gpu', without), withoutWebGpu);
    expect(info).toMatchObject({ type: 'gpu', backend: mode });
    if (withoutWebGpu) expect(info.reason).toContain('this browser has no WebGPU');
    expect(difference(losses, expected.losses, 1e-4, 0)).toBeNull();
  });
});

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import * as ort from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { noGrad, rand } from '../src/index.js';
import { exportOnnx, loadModel } from '../src/io/index.js';
import { onGpu } from './gpu/device.js';
import { expectClose } from './helpers.js';

// The built package as others meet it; `npm test` builds it first.

const node = (script: string, cwd = '.') =>
  execFileSync(process.execPath, ['--input-type=module', '-e', script], { cwd, encoding: 'utf8' }).trim();
const example = (path: string, ...args: string[]) =>
  execFileSync(process.execPath, ['--import', 'tsx', path, ...args], { encoding: 'utf8' });

describe('the built package', () => {
  it('is imported without side effects on the random stream or the process', () => {
    expect(node(`import { tensor } from 'tapegrad'; console.log(tensor([1, 2]).add(1).toArraySync().join());`)).toBe(
      '2,3',
    );
    expect(node(`import * as io from 'tapegrad/io'; console.log(Object.keys(io).sort().join());`)).toBe(
      'exportOnnx,fromSafetensors,load,loadModel,loadModelFile,parseCsv,parseIdx,readCsv,readIdx,save,saveModel,toSafetensors',
    );
  });
  it('exports the promised names', () => {
    const names =
      'arange,autograd,checkpoint,data,fit,full,gradcheck,manualSeed,metrics,nn,noGrad,ones,optim,rand,randn,tensor,useDevice,zeros';
    const missing = node(
      `import * as t from 'tapegrad'; console.log('${names}'.split(',').filter((n) => !(n in t)).join());`,
    );
    expect(missing).toBe('');
  });
  it('can be required where Node allows it', () => {
    const [major, minor] = process.versions.node.split('.').map(Number);
    if (major < 20 || (major === 20 && minor < 19)) return;
    const dir = mkdtempSync(join(tmpdir(), 'tapegrad-'));
    const file = join(dir, 'a.cjs');
    writeFileSync(
      file,
      `const { tensor } = require(${JSON.stringify(resolve('dist/index.js'))}); console.log(tensor([3]).mul(2).itemSync());`,
    );
    expect(execFileSync(process.execPath, [file], { encoding: 'utf8' }).trim()).toBe('6');
  });
});

describe('examples', () => {
  it('simple-net reaches the quality of least squares on the diabetes set', () => {
    const out = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'simple.safetensors');
    const text = example('docs/examples/simple-net.ts', '--epochs', '300', '--out', out);
    // Least squares on the same split reaches 0.368 (NumPy's lstsq).
    const r2 = Number(text.match(/test R²: (\S+)/)![1]);
    expect(r2).toBeGreaterThan(0.34);
    expect(readFileSync(out).length).toBeGreaterThan(200);
  });
  it('tabular is better with AdamW, dropout, a schedule and early stopping than with SGD', () => {
    const out = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'tabular.safetensors');
    const text = example('docs/examples/tabular.ts', '--out', out);
    const [sgd, adamw] = [...text.matchAll(/mean test R²: (\S+)/g)].map(([, r2]) => Number(r2));
    expect(sgd).toBeGreaterThan(0.45);
    expect(adamw).toBeGreaterThan(sgd);
    expect(readFileSync(out).length).toBeGreaterThan(10_000);
  });
  it('digits reads the real MNIST, learns in one epoch, reloads the same model, serves it and writes its report', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'tapegrad-'));
    const text = example(
      'docs/examples/digits.ts',
      '--epochs',
      '1',
      '--models',
      join(dir, 'models'),
      '--report',
      join(dir, 'r.html'),
    );
    expect(Number(text.match(/test accuracy (\S+) %/)![1])).toBeGreaterThan(92);
    expect(text).toContain('differs by 0 in 100000 outputs');
    expect(text).toMatch(
      /served at http:\/\/127\.0\.0\.1:\d+: the first ten test digits are read as \d{10}, they are 7210414959/,
    );
    // What it saved computes the same in onnxruntime.
    const model = await loadModel(join(dir, 'models/digits/1/model.safetensors'));
    await exportOnnx(model, [1, 784], join(dir, 'd.onnx'));
    const session = await ort.InferenceSession.create(join(dir, 'd.onnx'));
    const x = rand([20, 784]);
    const { output } = await session.run({ input: new ort.Tensor('float32', x.dataSync(), x.shape) });
    expectClose(output.data as Float32Array, noGrad(() => model.forward(x)).dataSync(), 1e-5, 1e-5);
    const html = readFileSync(join(dir, 'r.html'), 'utf8');
    expect(html.match(/<svg/g)!.length).toBe(3);
    expect(html.match(/data:image\/png;base64,/g)!.length).toBe(24);
    expect(html).not.toMatch(/(src|href)="http/);
  });
});

describe('examples on the GPU', () => {
  onGpu('simple-net prints what it prints on the cpu', () => {
    const run = (device: string) => {
      const out = join(mkdtempSync(join(tmpdir(), 'tapegrad-')), 'simple.safetensors');
      const args = ['--import', 'tsx', '--import', './test/gpu/preload.ts', 'docs/examples/simple-net.ts'];
      const options = ['--epochs', '10', '--out', out, '--device', device];
      return execFileSync(process.execPath, [...args, ...options], { encoding: 'utf8' }).split('\n');
    };
    const [onCpu, onGpu] = [run('cpu'), run('gpu')];
    expect(onGpu[0]).toMatch(/^device: gpu \(webgpu/);
    expect(onGpu.slice(1, 3)).toEqual(onCpu.slice(1, 3));
  });
});

describe('the README', () => {
  it('has examples that run', () => {
    const blocks = [...readFileSync('README.md', 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map((m) => m[1]);
    expect(blocks.length).toBeGreaterThan(0);
    const dir = mkdtempSync(join(resolve('test'), '.readme-'));
    try {
      blocks.forEach((block, i) => {
        const file = join(dir, `block${i}.ts`);
        writeFileSync(file, block);
        expect(() =>
          execFileSync(process.execPath, ['--import', 'tsx', file], { cwd: dir, encoding: 'utf8', stdio: 'pipe' }),
        ).not.toThrow();
      });
    } finally {
      execFileSync('rm', ['-r', dir]);
    }
  });
});

import { describe, it } from 'vitest';
import { CpuBackend } from '../src/backends/cpu/index.js';
import { table } from '../src/ops/table.js';
import { sample, ulps } from './helpers.js';

function wholeRange(): Float32Array {
  const bits = new Uint32Array(2 ** 19);
  for (let i = 0; i < bits.length; i++) bits[i] = (i * 8192 + ((i * 2654435761) >>> 20)) >>> 0;
  return new Float32Array(bits.buffer).filter((v) => !Number.isNaN(v));
}

describe.each(['wasm-relaxed-simd', 'wasm-simd'] as const)('%s', (build) => {
  const cpu = new CpuBackend(build);
  const x = wholeRange();
  const dense = sample(100_000, [-15, 15]);
  const near = sample(100_000, [-2, 2]);
  it.each([
    'sin',
    'cos',
    'erf',
    'log1p',
    'expm1',
    'rsqrt',
    'silu',
    'softplus',
    'gelu',
    'geluTanh',
    'floor',
    'ceil',
    'round',
    'sign',
    'square',
  ] as const)('%s is within 4 ulp of float64', (name) => {
    const row = table.unary[name];
    const out: string[] = [];
    for (const values of [x, dense, near]) {
      const got = cpu.readSync(cpu.unary(row, cpu.upload(values)));
      let worst = 0,
        at = 0;
      values.forEach((v, i) => {
        const e = row.f(v);
        if (Math.abs(e) < 2e-36) {
          if (Math.abs(got[i] - e) > 1e-36) {
            worst = Infinity;
            at = v;
          }
          return;
        }
        const d = ulps(got[i], e);
        if (d > worst) [worst, at] = [d, v];
      });
      out.push(`${worst.toFixed(2)} at ${at}`);
    }
    console.log(name, out.join('; '));
  });
});

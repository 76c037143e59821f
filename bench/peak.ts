// What 128-bit SIMD can do on one core: a kernel that multiplies and adds in registers and touches no memory.
import asc from 'assemblyscript/asc';

const LANES = 12;
const ROUNDS = 20_000;
const each = (line: (i: number) => string) => Array.from({ length: LANES }, (_, i) => line(i)).join('\n');

const source = (fused: boolean) => `
export function spin(rounds: i32): f32 {
  const s = f32x4.splat(1.0000001), t = f32x4.splat(1e-9);
  ${each((i) => `let r${i} = f32x4.splat(${i + 1});`)}
  for (let n = 0; n < rounds; n++) {
    ${each((i) => `r${i} = ${fused ? `f32x4.relaxed_madd(s, t, r${i})` : i % 2 ? `f32x4.add(r${i}, t)` : `f32x4.mul(r${i}, s)`};`)}
  }
  let sum = r0;
  ${each((i) => `sum = f32x4.add(sum, r${i});`)}
  return f32x4.extract_lane(sum, 0);
}`;

async function compile(fused: boolean): Promise<Uint8Array> {
  let bytes: Uint8Array | undefined;
  const features = ['--enable', 'simd', '--enable', 'relaxed-simd'];
  const { error, stderr } = await asc.main(
    ['peak.ts', '--outFile', 'peak.wasm', '--optimizeLevel', '3', '--runtime', 'stub', '--noAssert', ...features],
    {
      readFile: (name) => (name === 'peak.ts' ? source(fused) : null),
      writeFile: (name, data) => {
        if (name.endsWith('.wasm')) bytes = data as Uint8Array;
      },
    },
  );
  if (error || !bytes) throw new Error(`the peak kernel does not compile: ${stderr.toString()}`);
  return bytes;
}

/**
 * @param fused whether to use fused multiply-add, which must be enabled already
 * @returns measures GFLOP/s of one core as it is now, the median over some 50 ms: clocks change from second to second
 */
export async function peakMeter(fused: boolean): Promise<() => number> {
  const bytes = (await compile(fused)) as Uint8Array<ArrayBuffer>;
  const { instance } = await WebAssembly.instantiate(bytes, { env: { abort() {} } });
  const spin = instance.exports.spin as (rounds: number) => number;
  const measure = () => {
    const times = Array.from({ length: 500 }, () => {
      const start = performance.now();
      spin(ROUNDS / 10);
      return performance.now() - start;
    });
    return ((ROUNDS / 10) * LANES * 4 * (fused ? 2 : 1)) / (median(times) / 1000) / 1e9;
  };
  measure();
  return measure;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1];
}

import { MOST_PRODUCTS, MOST_THREADS, matmul } from '../../../kernels/gpu/matmul.js';
import type { GpuKernel } from '../../../kernels/gpu/source.js';
import {
  LARGE,
  SMALL,
  SMALL_IN_SOFTWARE,
  sharedBytes,
  type Tile,
  threadsOf,
  tiled,
} from '../../../kernels/gpu/tiled.js';
import type { MatmulPlan } from '../backend.js';

// Which kernel computes a product.

/** What a device allows workgroups, in WebGPU's names. */
export interface GroupLimits {
  readonly maxComputeWorkgroupStorageSize: number;
  readonly maxComputeInvocationsPerWorkgroup: number;
  readonly maxComputeWorkgroupSizeX: number;
  readonly maxComputeWorkgroupsPerDimension: number;
}

/**
 * How products are tiled: as their sizes deserve, never, or always in these tiles where the device allows them. Tests and
 * benchmarks compare the kernels with it.
 */
export type Tiling = 'by size' | 'never' | Tile;

/** A device on which kernels have shaders of their own. */
export interface TileDevice {
  readonly limits: GroupLimits;
  readonly inSoftware: boolean;
}

/** Products with fewer rows or columns than this leave most of a tile empty. */
const LEAST_SIDE = 24;
/** Products of fewer steps than this have nothing to use twice. */
const LEAST_STEPS = 16;
/** A device in software compiles a tiled kernel for half a second: so many multiplications must be worth it. */
const LEAST_IN_SOFTWARE = 2 ** 24;
/** With fewer large tiles than this, small ones occupy more of the device. */
const FEW_TILES = 32;

function tileBySize({ m, n, k, offsetsA }: MatmulPlan, inSoftware: boolean): Tile | null {
  if (Math.min(m, n) < LEAST_SIDE || k < LEAST_STEPS) return null;
  if (inSoftware && offsetsA.length * m * n * k < LEAST_IN_SOFTWARE) return null;
  const count = Math.ceil(m / LARGE.size) * Math.ceil(n / LARGE.size) * offsetsA.length;
  if (count >= FEW_TILES && Math.min(m, n) > SMALL.size) return LARGE;
  return inSoftware ? SMALL_IN_SOFTWARE : SMALL;
}

/** The tile for a product; null for the kernel without tiles. */
export function tileFor(plan: MatmulPlan, { limits, inSoftware }: TileDevice, tiling: Tiling): Tile | null {
  if (tiling === 'never') return null;
  const tile = tiling === 'by size' ? tileBySize(plan, inSoftware) : tiling;
  if (tile === null) return null;
  const threads = threadsOf(tile);
  const fits =
    sharedBytes(tile) <= limits.maxComputeWorkgroupStorageSize &&
    threads <= limits.maxComputeInvocationsPerWorkgroup &&
    threads <= limits.maxComputeWorkgroupSizeX &&
    Math.max(Math.ceil(Math.max(plan.m, plan.n) / tile.size), plan.offsetsA.length) <=
      limits.maxComputeWorkgroupsPerDimension;
  return fits ? tile : null;
}

/** A kernel for a product, and its threads. */
export interface Product {
  readonly kernel: GpuKernel;
  readonly threads: number | number[];
}

const isWhole = (length: number) => length % 4 === 0;

/** A product in tiles. */
export function tiledProduct(
  { m, n, k, transA, transB, relu, offsetsA }: MatmulPlan,
  bias: boolean,
  tile: Tile,
): Product {
  const kernel = tiled({
    transA,
    transB,
    bias,
    relu,
    tile,
    vectorA: isWhole(transA ? m : k),
    vectorB: isWhole(transB ? k : n),
    vectorC: isWhole(n),
  });
  return { kernel, threads: [n, m, offsetsA.length] };
}

/** A product without tiles. @param severalResults whether a thread may compute several numbers */
export function plainProduct(plan: MatmulPlan, bias: boolean, severalResults: boolean): Product {
  const { m, n, transA, transB, relu, offsetsA } = plan;
  const columns = severalResults && isWhole(n) ? 4 : 1;
  const tooMany = Math.max(m, n / columns) > MOST_THREADS || offsetsA.length > MOST_PRODUCTS;
  const flat = tooMany || !severalResults;
  const kernel = matmul({ transA, transB, bias, relu, columns, flat });
  return { kernel, threads: flat ? (offsetsA.length * m * n) / columns : [n / columns, m, offsetsA.length] };
}

import { formName, matmul, type ProductForm, productArguments } from './matmul.js';
import { type GpuKernel, shaderHead } from './source.js';

// The product in WGSL. A workgroup computes a tile of the result: it brings a few columns of A and rows of B into memory that
// its threads share, and every number there is used by a whole row or column of the tile. gpu.js's dialect has no such memory.

/** A workgroup's part of the result. */
export interface Tile {
  /** Rows and columns of the tile. */
  readonly size: number;
  /** Rows and columns of a thread. */
  readonly each: 4 | 8;
  /** Steps of the sums between two loads, divisible by four. */
  readonly depth: number;
}

export const LARGE: Tile = { size: 64, each: 8, depth: 8 };
/** More threads for fewer results, to occupy a device. */
export const SMALL: Tile = { size: 32, each: 4, depth: 8 };
/** As small with more results a thread, for devices in software: there a thread costs more than its results. */
export const SMALL_IN_SOFTWARE: Tile = { size: 32, each: 8, depth: 8 };

export interface TiledVariant extends ProductForm {
  readonly tile: Tile;
  /** Whether the numbers of A, of B and of the result lie in rows of whole vectors of four. */
  readonly vectorA: boolean;
  readonly vectorB: boolean;
  readonly vectorC: boolean;
}

/** How many threads a workgroup has. */
export const threadsOf = ({ size, each }: Tile): number => (size / each) ** 2;
/** How many bytes its threads share. */
export const sharedBytes = ({ size, depth }: Tile): number => 2 * size * depth * 4;

const range = (n: number) => Array.from({ length: n }, (_, i) => i);
const lines = (n: number, line: (i: number) => string) => range(n).map(line).join('\n');

interface Operand {
  readonly name: 'left' | 'right';
  readonly vector: boolean;
  /** Whether neighbours in a row of memory belong to one sum, instead of to one column or row of the result. */
  readonly alongSums: boolean;
  /** The operand's rows or columns of the result: how many there are, and where the tile begins. */
  readonly count: string;
  readonly first: string;
}

/**
 * Reads four numbers that lie next to each other, from (row, col) of a matrix as it is stored. What is outside the matrix is 0:
 * in sums it adds nothing, and outside the result nobody looks.
 */
function loader({ name, vector }: Operand): string {
  const begin = `fn load_${name}(base : u32, rows : u32, cols : u32, row : u32, col : u32) -> vec4<f32> {
  var v = vec4<f32>();
  if (row >= rows || col >= cols) { return v; }
  let at = base + row * cols + col;`;
  if (vector) return `${begin}\n  return user_${name}[at / 4u];\n}`;
  return `${begin}
  v.x = user_${name}[at];
${lines(3, (i) => `  if (col + ${i + 1}u < cols) { v[${i + 1}] = user_${name}[at + ${i + 1}u]; }`)}
  return v;
}`;
}

/** Brings the operand's part of the next steps into shared memory, step by step. */
function stage(operand: Operand, { size, depth }: Tile, threads: number): string {
  const { name, alongSums, count, first } = operand;
  const wide = size / 4;
  const load = (row: string, col: string) =>
    `load_${name}(${name}_base, ${alongSums ? `${count}, k` : `k, ${count}`}, ${row}, ${col})`;
  if (!alongSums) {
    return `for (var i = local; i < ${depth * wide}u; i += ${threads}u) {
      shared_${name}[i] = ${load(`step + i / ${wide}u`, `${first} + i % ${wide}u * 4u`)};
    }`;
  }
  // Four steps of four sums are turned around in registers, so that shared memory takes whole vectors.
  return `for (var i = local; i < ${(depth / 4) * wide}u; i += ${threads}u) {
      let line = i / ${depth / 4}u;
      let part = i % ${depth / 4}u * 4u;
${lines(4, (r) => `      let v${r} = ${load(`${first} + line * 4u + ${r}u`, 'step + part')};`)}
${lines(4, (s) => `      shared_${name}[(part + ${s}u) * ${wide}u + line] = vec4<f32>(v0[${s}], v1[${s}], v2[${s}], v3[${s}]);`)}
    }`;
}

/** Writes four neighbours in a row of the result, with bias and relu. */
function store({ bias, relu, vectorC }: TiledVariant): string {
  // Not max(y, 0), which may lose a NaN.
  const finished = `${bias ? '  y = y + bias;\n' : ''}${relu ? '  y = select(y, vec4<f32>(), y < vec4<f32>());\n' : ''}`;
  const rest = lines(3, (i) => `  if (col + ${i + 1}u < n) { result[at + ${i + 1}u] = y[${i + 1}]; }`);
  return `fn store(at : u32, m : u32, n : u32, row : u32, col : u32, sums : vec4<f32>${bias ? ', bias : vec4<f32>' : ''}) {
  if (row >= m || col >= n) { return; }
  var y = sums;
${finished}${vectorC ? '  result[at / 4u] = y;' : `  result[at] = y.x;\n${rest}`}
}`;
}

/** The bias of four columns; beyond the last one it does not matter. */
const biasOf = (col: string) =>
  `vec4<f32>(${range(4)
    .map((i) => `user_bias[min(${col} + ${i}u, n - 1u)]`)
    .join(', ')})`;

function shaderOf(variant: TiledVariant): string {
  const { transA, transB, bias, tile, vectorA, vectorB, vectorC } = variant;
  const { size, each, depth } = tile;
  const across = size / each;
  const threads = threadsOf(tile);
  const [wide, parts] = [size / 4, each / 4];
  const left: Operand = { name: 'left', vector: vectorA, alongSums: !transA, count: 'm', first: 'tile_row' };
  const right: Operand = { name: 'right', vector: vectorB, alongSums: transB, count: 'n', first: 'tile_col' };
  const args = productArguments(bias);
  const vectors = new Set<string>(
    [vectorA && 'left', vectorB && 'right', vectorC && 'result'].filter((name) => name !== false),
  );
  // Rows and columns of a thread lie in blocks of four, a whole row of threads apart: neighbouring threads read and write neighbours.
  const sums = range(each).flatMap((r) => range(parts).map((c) => `var s${r}_${c} = vec4<f32>();`));
  return `${shaderHead(args, vectors)}
var<workgroup> shared_left : array<vec4<f32>, ${depth * wide}>;
var<workgroup> shared_right : array<vec4<f32>, ${depth * wide}>;
${loader(left)}
${loader(right)}
${store(variant)}
@compute @workgroup_size(${threads}) fn main(
  @builtin(workgroup_id) group : vec3<u32>,
  @builtin(local_invocation_index) local : u32,
) {
  let m = u32(params.user_m);
  let n = u32(params.user_n);
  let k = u32(params.user_k);
  let left_base = u32(user_whichA[group.z]) * m * k;
  let right_base = u32(user_whichB[group.z]) * k * n;
  let tile_row = group.y * ${size}u;
  let tile_col = group.x * ${size}u;
  let y = local / ${across}u;
  let x = local % ${across}u;
  ${sums.join(' ')}
  for (var step = 0u; step < k; step += ${depth}u) {
    ${stage(left, tile, threads)}
    ${stage(right, tile, threads)}
    workgroupBarrier();
    for (var i = 0u; i < ${depth * wide}u; i += ${wide}u) {
${lines(parts, (p) => `      let a${p} = shared_left[i + y + ${p * across}u]; let b${p} = shared_right[i + x + ${p * across}u];`)}
${lines(
  each,
  (r) =>
    `      ${range(parts)
      .map((c) => `s${r}_${c} = fma(vec4<f32>(a${r >> 2}[${r & 3}]), b${c}, s${r}_${c});`)
      .join(' ')}`,
)}
    }
    workgroupBarrier();
  }
  let base = group.z * m * n;
${lines(parts, (c) => {
  const col = `  let col${c} = tile_col + x * 4u + ${c * across * 4}u;`;
  return bias ? `${col} let bias${c} = ${biasOf(`col${c}`)};` : col;
})}
${lines(each, (r) => {
  const row = `  let row${r} = tile_row + y * 4u + ${(r >> 2) * across * 4 + (r & 3)}u; let at${r} = base + row${r} * n;`;
  const stores = range(parts).map((c) => {
    const last = `s${r}_${c}${bias ? `, bias${c}` : ''}`;
    return `store(at${r} + col${c}, m, n, row${r}, col${c}, ${last});`;
  });
  return `${row} ${stores.join(' ')}`;
})}
}
`;
}

/** By key: a shader is long, and a step asks for the same ones again and again. */
const known = /* @__PURE__ */ new Map<string, GpuKernel>();

/**
 * The same product as `matmul` in tiles; its threads are [n, m, batch]. Its sums take the same order, but are rounded less
 * often where the device multiplies and adds at once.
 */
export function tiled(variant: TiledVariant): GpuKernel {
  const { bias, tile, vectorA, vectorB, vectorC } = variant;
  const { size, each, depth } = tile;
  const widths = [vectorA, vectorB, vectorC].map((v) => (v ? 4 : 1)).join('');
  const key = `matmul ${formName(variant)}, tiles of ${size} by ${each} by ${depth}, loads of ${widths}`;
  let kernel = known.get(key);
  if (kernel === undefined) {
    const shader = {
      head: shaderHead(productArguments(bias)),
      code: shaderOf(variant),
      group: [size, size, 1],
    } as const;
    // gpu.js takes the types of the arguments from `matmul`, and runs it where its declarations are not those of the shader.
    kernel = { ...matmul({ ...variant, columns: 1, flat: false }), key, shader };
    known.set(key, kernel);
  }
  return kernel;
}

import { type ArgumentType, type GpuKernel, type OwnShader, shaderHead } from './source.js';

// Reductions in WGSL with a workgroup for every result: its threads read neighbours, and put together what they have in memory
// that they share. They take the arguments of the kernels whose place they take, and give the same numbers but for the order.

/** The threads of a workgroup. */
export const GROUP = 64;
/** How many numbers a workgroup reduces: 128 a thread, as many as a thread of the other kernels. */
export const GROUP_SEGMENT = GROUP * 128;

/**
 * A combination of acc and x in WGSL, which has no ternary operator; null for what is more than comparisons and arithmetic.
 * Both sides are computed, which does no harm.
 */
export function selecting(expression: string): string | null {
  if (!/^(acc|x|[\s+\-*<>=?:()])*$/.test(expression)) return null;
  const choose = (text: string): string => {
    const whole = text.trim().replace(/^\(([^()]*)\)$/, '$1');
    const mark = whole.indexOf('?');
    if (mark < 0) return whole.replaceAll('===', '==');
    // The colon of this question is the one before which as many questions as colons have been answered.
    let [at, open] = [mark + 1, 0];
    for (; whole[at] !== ':' || open > 0; at++) open += whole[at] === '?' ? 1 : whole[at] === ':' ? -1 : 0;
    const [yes, no] = [whole.slice(mark + 1, at), whole.slice(at + 1)];
    return `select(${choose(no)}, ${choose(yes)}, ${choose(whole.slice(0, mark))})`;
  };
  return choose(expression);
}

/** A shader whose workgroups compute one number each: `number` sets `acc` of each thread, of which `holders` have one. */
function grouped(args: Readonly<Record<string, ArgumentType>>, number: string, combined: string): OwnShader {
  const head = shaderHead(args);
  const code = `${head}
var<workgroup> partial : array<f32, ${GROUP}>;
@compute @workgroup_size(${GROUP}) fn main(
  @builtin(workgroup_id) group : vec3<u32>,
  @builtin(local_invocation_index) local : u32,
) {
  let place = group.x + group.y * params.dispatchWidth;
  if (place >= params.outputX) { return; }
  ${number}
  partial[local] = acc;
  for (var apart = ${GROUP / 2}u; apart > 0u; apart /= 2u) {
    workgroupBarrier();
    if (local < apart && local + apart < holders) {
      let x = partial[local + apart];
      acc = ${combined};
      partial[local] = acc;
    }
  }
  if (local == 0u) { result[place] = acc; }
}
`;
  return { head, code, group: [1, 1, 1] };
}

const named = (kernel: GpuKernel, shader: OwnShader): GpuKernel => ({
  ...kernel,
  key: `${kernel.key}, in groups`,
  shader,
});

/** By the key of the kernel whose place it takes. */
const known = /* @__PURE__ */ new Map<string, GpuKernel | null>();

/** `reduce` with an inner size of 1; null if its combination is not for this. */
export function reduceInGroups(
  kernel: GpuKernel,
  args: Readonly<Record<string, ArgumentType>>,
  combine: string,
): GpuKernel | null {
  let twin = known.get(kernel.key);
  if (twin === undefined) {
    const combined = selecting(combine);
    twin = combined === null ? null : named(kernel, grouped(args, segmentOf(combined), combined));
    known.set(kernel.key, twin);
  }
  return twin;
}

/** What a thread makes of every 64th number of its segment. */
const segmentOf = (combined: string) => `let outer = place / u32(params.user_parts);
  let begin = (place - outer * u32(params.user_parts)) * u32(params.user_segment);
  let count = min(u32(params.user_length) - begin, u32(params.user_segment));
  let holders = min(count, ${GROUP}u);
  let first = outer * u32(params.user_length) + begin;
  var acc = user_input[first + min(local, count - 1u)];
  for (var i = local + ${GROUP}u; i < count; i += ${GROUP}u) {
    let x = user_input[first + i];
    acc = ${combined};
  }`;

/** `expRest`: each thread leaves out one number that is equal to the top, and all but one of these are added at the end. */
export function expRestInGroups(kernel: GpuKernel, args: Readonly<Record<string, ArgumentType>>): GpuKernel {
  const number = `let cols = u32(params.user_cols);
  let holders = ${GROUP}u;
  let top = user_tops[place];
  var acc = 0.0;
  var left = 0u;
  for (var i = local; i < cols; i += ${GROUP}u) {
    let below = user_input[place * cols + i] - top;
    if (below == 0.0 && left == 0u) { left = 1u; } else { acc += select(below, exp(below), below == below); }
  }
  atomicAdd(&tops_left, left);
  workgroupBarrier();
  if (local == 0u) { acc += f32(max(atomicLoad(&tops_left), 1u) - 1u); }`;
  const shader = grouped(args, number, 'acc + x');
  return named(kernel, {
    ...shader,
    code: shader.code.replace(
      'var<workgroup> partial',
      'var<workgroup> tops_left : atomic<u32>;\nvar<workgroup> partial',
    ),
  });
}

import { type ArgumentType, type GpuKernel, helpers, type OwnShader } from '../../../kernels/gpu/source.js';
import { load as importGpuJs } from '../../optional/gpu.js';
import { type Argument, type Handle, type Mode, Unavailable } from './runtime.js';

// The one place that loads gpu.js, and what of it is used here.

/** A kernel of gpu.js: a promise on WebGPU, at once on WebGL. */
export interface KernelFunction {
  (...args: Argument[]): Handle | Promise<Handle>;
  setOutput(size: readonly number[]): void;
  /** What gpu.js does for it; this is there on WebGPU. */
  readonly kernel?: Assembler;
}

/** What gpu.js's kernels for WebGPU have, and a kernel with its own shader replaces. */
interface Assembler {
  /** Writes the shader, and sets `workgroupSize`. */
  assembleWGSL(): string;
  /** gpu.js divides the output by these to get the number of workgroups. */
  workgroupSize: readonly number[];
}

export interface GpuJs {
  createKernel(source: string, settings: object): KernelFunction;
  addFunction(source: string, settings: object): void;
  readonly context: unknown;
}

interface Module {
  readonly GPU: (new (options: { mode: string }) => GpuJs) & { readonly isHeadlessGLSupported: boolean };
}

async function load(): Promise<Module> {
  const module = (await importGpuJs(({ message }) => {
    throw new Unavailable(
      `the package gpu.js does not load (${message.split('\n')[0]})`,
      'run npm install gpu.js webgpu',
    );
  })) as unknown as Module & { default?: Module };
  return module.GPU ? module : module.default!;
}

/** gpu.js with the functions that our kernels call. @throws Unavailable */
export async function gpuJs(mode: Mode): Promise<GpuJs> {
  const { GPU } = await load();
  if (mode === 'headlessgl' && !GPU.isHeadlessGLSupported) {
    throw new Unavailable('the package gl is not there for WebGL', 'run npm install gl');
  }
  let gpu: GpuJs;
  try {
    gpu = new GPU({ mode });
  } catch (error) {
    throw new Unavailable((error as Error).message, "update the driver, or use 'cpu'");
  }
  for (const { source, ...settings } of helpers) gpu.addFunction(source, settings);
  return gpu;
}

/** What our kernels have in common. @param names what gpu.js calls the types of arguments */
export function create(
  gpu: GpuJs,
  kernel: GpuKernel,
  names: Readonly<Record<ArgumentType, string>>,
  settings: object = {},
): KernelFunction {
  const { source, types, dimensions, results, shader } = kernel;
  const created = gpu.createKernel(source, {
    output: new Array(dimensions).fill(1),
    pipeline: true,
    immutable: true,
    dynamicOutput: true,
    dynamicArguments: true,
    argumentTypes: types.map((type) => names[type]),
    returnType: results === 1 ? 'Number' : `Array(${results})`,
    // Loops whose bounds gpu.js does not see through end after so many turns.
    loopMaxIterations: 2 ** 31 - 1,
    ...settings,
  });
  if (shader !== undefined && typeof created.kernel?.assembleWGSL === 'function') useShader(created.kernel, shader);
  return created;
}

/**
 * Puts a kernel's own shader in place of what gpu.js makes of its source; arguments, buffers and the dispatch stay gpu.js's.
 * Where gpu.js declares the arguments in another way than the shader relies on, the source runs after all.
 */
function useShader(assembler: Assembler, { head, code, group }: OwnShader): void {
  const assemble = assembler.assembleWGSL;
  assembler.assembleWGSL = () => {
    const generated = assemble.call(assembler);
    if (!generated.startsWith(head)) return generated;
    assembler.workgroupSize = group;
    return code;
  };
}

import { Batch } from '../batch.js';
import { type Binding, Constants, MOST_CONSTANT_BYTES } from '../constants.js';
import { type GpuBuffer, type Maker, RESULT, type Recycler } from '../pool.js';
import { reported, type Verdict, type Verdicts } from '../verdicts.js';
import type {
  BindGroupDescriptor,
  ComputePass,
  Device,
  Encoder,
  LayoutDescriptor,
  Limits,
  Queue,
} from './interfaces.js';

// The device that gpu.js gets. It gives its work on to WebGPU's own: the dispatches of one turn together, with buffers and bind
// groups of before where they are the same. While a capture runs it also notes the dispatches, so that all of them can be
// submitted again at once. While a report of the device is awaited, or one was bad, it follows which buffers depend on it.

/** One dispatch. */
export interface Dispatch {
  /** The operation that it is part of. */
  readonly op: string;
  readonly pipeline: object;
  readonly layout: object;
  readonly bindings: readonly Binding[];
  readonly groups: readonly [x: number, y: number, z: number];
  /** What it reads and writes, but for constants, in the order of the bindings. */
  readonly buffers: readonly GpuBuffer[];
  readonly constants: readonly GpuBuffer[];
  /** Which of the buffers it writes to. */
  readonly output: number;
  /** The bind groups of its last runs. */
  readonly bound: Bound[];
}

/** A bind group, and the buffers in it that are no constants. */
interface Bound {
  readonly buffers: readonly GpuBuffer[];
  readonly group: object;
}

/** How many bind groups a dispatch remembers. */
const MOST_BOUND = 8;

/** One copy of a buffer. */
type Copy = Parameters<Encoder['copyBufferToBuffer']>;

/** Usages of WebGPU buffers. */
const MAP_READ = 0x01;
const UNIFORM = 0x40;
const STORAGE = 0x80;

/** A device that submits work in batches, and can note it. */
export class CapturableDevice implements Device {
  readonly #batch: Batch;
  readonly #constants: Constants;
  readonly #usages = new WeakMap<GpuBuffer, number>();
  /** What stands in for buffers that the host wrote to. */
  readonly #written = new WeakMap<GpuBuffer, GpuBuffer>();
  /** The binding of the buffer that a layout's kernels write to. */
  readonly #outputs = new WeakMap<object, number>();
  readonly #pipelines = new WeakMap<object, object>();
  /** The last pipeline that was asked for: what is wrong with it, once it is compiled. */
  #compiling: Promise<{ message: string } | null> | null = null;
  #capture: Dispatch[] | null = null;
  /** What gpu.js dispatched last. */
  last: Dispatch | null = null;
  readonly queue: Queue;
  /** gpu.js sets this to print errors; they are reported by `inner`. */
  onuncapturederror: ((event: { error: Error }) => void) | null = null;

  /**
   * @param buffers makes the buffers of the device
   * @param verdicts what the device reports
   * @param failure makes an error of what the device says about an operation
   */
  constructor(
    readonly inner: Device,
    private readonly buffers: Recycler,
    private readonly verdicts: Verdicts,
    private readonly failure: (op: string, message: string) => Error,
  ) {
    this.#batch = new Batch(inner);
    this.#constants = new Constants(inner, (size, usage) => this.#create(inner, { size, usage }), verdicts);
    this.queue = {
      writeBuffer: (buffer, offset, data) => this.#write(buffer, offset, bytesOf(data)),
      submit: (commands) => {
        for (const run of commands as (() => void)[]) run();
      },
    };
  }

  get limits(): Limits {
    return this.inner.limits;
  }

  get lost(): Device['lost'] {
    return this.inner.lost;
  }

  createBuffer(descriptor: { size: number; usage: number }): GpuBuffer {
    // The pool sees to its own.
    const isResult = descriptor.usage === RESULT;
    const buffer = isResult ? this.buffers.createBuffer(descriptor) : this.#create(this.buffers, descriptor);
    this.#usages.set(buffer, descriptor.usage);
    if (isResult) return buffer;
    const destroy = buffer.destroy.bind(buffer);
    buffer.destroy = () => {
      // Work that has not been submitted must find it.
      if (this.#batch.touches(buffer)) this.flush();
      destroy();
    };
    return buffer;
  }

  /** A buffer for a result; see Recycler. */
  createResult(bytes: number, home: object, op: string): GpuBuffer {
    this.buffers.op = op;
    return this.buffers.result(bytes, home);
  }

  /** The first of some buffers that is free: bind groups are there for them. */
  claim(known: readonly GpuBuffer[]): GpuBuffer | undefined {
    return known.find((buffer) => this.buffers.claim(buffer));
  }

  /**
   * A dispatch that was made before, on other buffers, with the result in a new one; preferably in one for which there is a
   * bind group.
   * @param inputs the buffers before the result
   * @param bytes the size of the result
   */
  again(dispatch: Dispatch, inputs: readonly GpuBuffer[], bytes: number): GpuBuffer {
    for (const { buffers, group } of dispatch.bound) {
      if (!isSame(buffers, inputs) || !this.buffers.claim(buffers[inputs.length])) continue;
      this.#add(dispatch, buffers, group);
      return buffers[inputs.length];
    }
    const output = this.createResult(bytes, dispatch, dispatch.op);
    this.dispatch(dispatch, [...inputs, output]);
    return output;
  }

  /** Makes a buffer, with a report on it. */
  #create(maker: Maker, descriptor: { size: number; usage: number }): GpuBuffer {
    const message = (problem: string) => `no memory for ${descriptor.size} bytes: ${problem}`;
    // When the report comes, it is about an operation of before.
    const { op } = this.buffers;
    const { result, report } = reported(
      this.inner,
      () => maker.createBuffer(descriptor),
      (m) => this.failure(op, message(m)),
    );
    this.verdicts.made([result], report);
    return result;
  }

  /** What went wrong with the numbers of a buffer, once the device has reported; null at once if nothing can have. */
  errorOf(buffer: GpuBuffer): Promise<Error | null> | null {
    return this.verdicts.errorOf(buffer);
  }

  pushErrorScope(filter: string): void {
    this.inner.pushErrorScope(filter);
  }

  /** gpu.js awaits it after it has asked for a pipeline, and then uses that. */
  async popErrorScope(): Promise<{ message: string } | null> {
    const compiling = this.#compiling;
    this.#compiling = null;
    return (await this.inner.popErrorScope()) ?? (await compiling);
  }

  /** The real group is made for each dispatch, because what the host writes decides on its buffers. */
  createBindGroup(descriptor: BindGroupDescriptor): object {
    return descriptor;
  }

  createBindGroupLayout(descriptor: LayoutDescriptor): object {
    const layout = this.inner.createBindGroupLayout(descriptor);
    const output = descriptor.entries.find((entry) => entry.buffer?.type === 'storage');
    if (output !== undefined) this.#outputs.set(layout, output.binding);
    return layout;
  }

  createPipelineLayout(descriptor: object): object {
    return this.inner.createPipelineLayout(descriptor);
  }

  createShaderModule(descriptor: object): object {
    return this.inner.createShaderModule(descriptor);
  }

  /** Compiles without keeping this thread: what it returns stands for the pipeline. */
  createComputePipeline(descriptor: object): object {
    const standIn = {};
    this.#compiling = this.createComputePipelineAsync(descriptor).then(
      (pipeline) => {
        this.#pipelines.set(standIn, pipeline);
        return null;
      },
      (error: Error) => error,
    );
    return standIn;
  }

  createComputePipelineAsync(descriptor: object): Promise<object> {
    return this.inner.createComputePipelineAsync(descriptor);
  }

  /** Its commands are done when they are submitted. */
  createCommandEncoder(): Encoder {
    const work: (() => void)[] = [];
    return {
      beginComputePass: () => this.#newPass(work),
      copyBufferToBuffer: (...copy) => void work.push(() => this.copy(...copy)),
      finish: () => () => {
        for (const run of work) run();
      },
    };
  }

  #newPass(work: (() => void)[]): ComputePass {
    let pipeline: object;
    let bound: BindGroupDescriptor;
    return {
      setPipeline: (standIn) => {
        pipeline = this.#pipelines.get(standIn)!;
      },
      setBindGroup: (_, group) => {
        bound = group as BindGroupDescriptor;
      },
      dispatchWorkgroups: (...groups) => void work.push(() => this.#gpuJsDispatch(pipeline, bound, groups)),
      end: () => {},
    };
  }

  #gpuJsDispatch(pipeline: object, { layout, entries }: BindGroupDescriptor, groups: Dispatch['groups']): void {
    const buffers: GpuBuffer[] = [];
    const constants: GpuBuffer[] = [];
    let output = 0;
    const at = this.#outputs.get(layout);
    const bindings = entries.map((entry): Binding => {
      const { buffer } = entry.resource;
      const constant = this.#written.get(buffer);
      if (constant !== undefined) constants.push(constant);
      if (constant !== undefined) return { binding: entry.binding, resource: { buffer: constant } };
      if (entry.binding === at) output = buffers.length;
      buffers.push(buffer);
      return entry;
    });
    const { op } = this.buffers;
    const dispatch = { op, pipeline, layout, bindings, groups, buffers, constants, output, bound: [] };
    this.last = dispatch;
    this.#capture?.push(dispatch);
    this.dispatch(dispatch, buffers);
  }

  /** Adds a dispatch to what is submitted next. @param buffers those that it reads and writes this time */
  dispatch(dispatch: Dispatch, buffers: readonly GpuBuffer[]): void {
    this.buffers.op = dispatch.op;
    this.#add(dispatch, buffers, this.#groupOf(dispatch, buffers));
  }

  #add({ pipeline, constants, groups, output }: Dispatch, buffers: readonly GpuBuffer[], group: object): void {
    if (this.verdicts.active) {
      const add = () => this.#batch.dispatch(pipeline, group, buffers, groups);
      this.#perform(buffers[output], [...buffers, ...constants], add);
    } else this.#batch.dispatch(pipeline, group, buffers, groups);
  }

  #groupOf({ layout, bindings, constants, bound }: Dispatch, buffers: readonly GpuBuffer[]): object {
    for (const known of bound) if (isSame(known.buffers, buffers)) return known.group;
    let i = 0;
    const entries = bindings.map(({ binding, resource }): Binding => {
      const isConstant = constants.includes(resource.buffer);
      return { binding, resource: { buffer: isConstant ? resource.buffer : buffers[i++] } };
    });
    const make = () => this.#constants.group(layout, entries);
    // A buffer that could not be allocated makes the group invalid; its readers learn why from its own report.
    const group = this.#isDoubtful(buffers) || this.#isDoubtful(constants) ? this.#watched(make).result : make();
    if (bound.length >= MOST_BOUND) bound.shift();
    bound.push({ buffers, group });
    return group;
  }

  /** Whether a dispatch has a constant that could not be allocated. */
  isBroken({ constants }: Dispatch): boolean {
    return this.verdicts.active && constants.some((buffer) => this.verdicts.failed(buffer));
  }

  /** Adds a copy to what is submitted next; one for the host is submitted at once. */
  copy(...[from, fromOffset, to, toOffset, bytes]: Copy): void {
    this.#perform(to, [from, to], () => this.#batch.copy(from, fromOffset, to, toOffset, bytes));
    if ((this.#usages.get(to) ?? 0) & MAP_READ) this.flush();
  }

  /** Submits what was collected. */
  flush(): void {
    this.#batch.flush();
  }

  /**
   * Adds work to the batch. One invalid buffer makes a whole submission invalid: what uses a buffer that may be is submitted
   * alone, and what the device says of it is said of the buffer that it writes to.
   */
  #perform(output: GpuBuffer, buffers: readonly GpuBuffer[], add: () => void): void {
    if (!this.verdicts.active) {
      add();
      return;
    }
    this.verdicts.computed(output, buffers);
    if (!this.#isDoubtful(buffers)) {
      add();
      return;
    }
    this.flush();
    const { verdict } = this.#watched(() => {
      add();
      this.flush();
    });
    // The report on the allocation comes first: it names the cause.
    this.verdicts.computed(output, [], [...this.verdicts.of(output), verdict]);
  }

  #isDoubtful(buffers: readonly GpuBuffer[]): boolean {
    return this.verdicts.active && buffers.some((buffer) => this.verdicts.doubtful(buffer));
  }

  /** Calls the device, with a report on it. */
  #watched<T>(call: () => T): { result: T; verdict: Verdict } {
    const { op } = this.buffers;
    this.inner.pushErrorScope('validation');
    const result = call();
    const report = this.inner.popErrorScope().then((error) => error && this.failure(op, error.message));
    return { result, verdict: this.verdicts.expect(report) };
  }

  #write(buffer: GpuBuffer, offset: number, bytes: Uint8Array): void {
    const usage = (this.#usages.get(buffer) ?? 0) & (UNIFORM | STORAGE);
    if (offset === 0 && bytes.byteLength <= MOST_CONSTANT_BYTES) {
      this.#written.set(buffer, this.#constants.of(buffer, bytes, usage));
      return;
    }
    // gpu.js keeps a buffer that could not be allocated: another one stands in for it.
    if (this.#capture !== null || this.verdicts.failed(buffer)) {
      this.#written.set(buffer, this.#constants.fresh(bytes, usage));
      return;
    }
    this.#written.delete(buffer);
    // What was queued before must find the former numbers.
    if (this.#batch.touches(buffer)) this.flush();
    const write = () => this.inner.queue.writeBuffer(buffer, offset, bytes);
    if (this.verdicts.doubtful(buffer)) this.#watched(write);
    else write();
  }

  destroy(): void {
    this.inner.destroy();
  }

  /** Runs `queue` and adds the dispatches that it makes at once to `dispatches`. */
  captureInto<T>(dispatches: Dispatch[], queue: () => T): T {
    this.#capture = dispatches;
    try {
      return queue();
    } finally {
      this.#capture = null;
    }
  }
}

function isSame(a: readonly GpuBuffer[], b: readonly GpuBuffer[]): boolean {
  for (let i = 0; i < b.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function bytesOf(data: ArrayBuffer | ArrayBufferView): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

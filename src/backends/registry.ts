import { checkChoice, describe, fail, TapegradError } from '../errors.js';
import { permitted } from '../node.js';
import type { Backend, Device, DeviceInfo, MemoryInfo } from './backend.js';
import { CpuBackend } from './cpu/index.js';
import { MAX_THREADS } from './cpu/pool.js';
import { type Build, chooseBuild } from './cpu/wasm.js';
import { GpuBackend } from './gpu/index.js';
import { ReferenceBackend } from './reference.js';
import { warnOnce } from './warn.js';

const started = new Map<Device, Backend>();
let current: Device = 'cpu';

const starters: Record<Device, () => Backend> = {
  cpu: startCpu,
  gpu: () => fail('device', 'the GPU has not been started', "await useDevice('gpu') first"),
  reference: () => new ReferenceBackend('reference', 'the plain-JavaScript reference was requested'),
};

const devices = Object.keys(starters) as Device[];

let chosenThreads: number | null = null;

/** The number of threads that was asked for; 0 for as many as there are cores. */
function threadsWanted(): number {
  if (chosenThreads !== null) return chosenThreads;
  const setting = permitted(() => (typeof process === 'object' ? process.env?.TAPEGRAD_THREADS : undefined));
  if (setting !== undefined && setting !== '')
    return checkThreads('TAPEGRAD_THREADS', /^\d+$/.test(setting) ? Number(setting) : setting);
  return 0;
}

function checkThreads(op: string, n: unknown): number {
  if (typeof n === 'number' && Number.isInteger(n) && n >= 1 && n <= MAX_THREADS) return n;
  fail(op, `the number of threads is ${describe(n)}`, `it must be an integer from 1 to ${MAX_THREADS}`);
}

/**
 * Sets how many threads may take part in one operation on the CPU, the calling one included. Default: the environment
 * variable TAPEGRAD_THREADS, or all cores. The others are started when there is enough work for them. Results do not
 * depend on the number. As torch.set_num_threads.
 *
 * @throws TapegradError unless n is an integer from 1 to 64
 */
export function setNumThreads(n: number): void {
  chosenThreads = checkThreads('setNumThreads', n);
  const backend = started.get('cpu');
  if (backend?.threads !== undefined) backend.threads = n;
}

/** How many threads may take part in one operation on the CPU; 1 where shared memory is not available. */
export function getNumThreads(): number {
  return backendOf('cpu').threads ?? 1;
}

/**
 * The fastest CPU implementation that runs here: WebAssembly, or else plain JavaScript, with a warning on the console.
 */
export function startCpu(choice: { build: Build } | { obstacle: string } = chooseBuild()): Backend {
  if ('obstacle' in choice) return startSlow(choice.obstacle);
  const threads = threadsWanted();
  try {
    return new CpuBackend(choice.build, threads);
  } catch (error) {
    // The messages of Chromium, Firefox and Safari differ.
    if (/Content Security Policy|\bCSP\b|unsafe-eval/i.test(String(error))) {
      return startSlow(
        "the page's Content-Security-Policy forbids WebAssembly, as it does unless its script-src has 'wasm-unsafe-eval'",
      );
    }
    return startSlow(`the WebAssembly kernels did not start: ${String(error)}`);
  }
}

function startSlow(obstacle: string): Backend {
  const reason = `plain JavaScript, because ${obstacle}`;
  warnOnce('cpu', `operations take up to 50 times longer, as they run in ${reason}`);
  return new ReferenceBackend('cpu', reason);
}

/** The running backend of a device, started when it is first needed. */
export function backendOf(device: Device): Backend {
  let backend = started.get(device);
  if (backend === undefined) {
    checkChoice('device', 'device', device, devices);
    backend = starters[device]();
    started.set(device, backend);
  }
  return backend;
}

/** The backends that are running, including the current one. */
export function startedBackends(): Backend[] {
  currentBackend();
  return [...started.values()];
}

/** Replaces the implementation of a device; for tests of fallbacks. @internal */
export function replaceBackend(device: Device, backend: Backend): void {
  started.set(device, backend);
}

/**
 * Runs a synchronous function with another implementation of a device, which is also the current backend.
 * @internal
 */
export function withBackend<T>(device: Device, backend: Backend, fn: () => T): T {
  const [usual, chosen] = [started.get(device), current];
  started.set(device, backend);
  current = device;
  try {
    return fn();
  } finally {
    if (usual === undefined) started.delete(device);
    else started.set(device, usual);
    current = chosen;
  }
}

/** The backend of tensors that are made without a device. */
export function currentBackend(): Backend {
  return backendOf(current);
}

/**
 * The memory in use on a device, without memory that the garbage collector manages: the number of blocks (buffers on the
 * GPU) and their bytes; on the GPU also the number of kernels compiled so far.
 *
 * @param device default: the one that useDevice selected
 * @throws TapegradError for the GPU before it has been started
 */
export function memory(device: Device = current): MemoryInfo {
  return backendOf(device).memory();
}

/** The start of the GPU, once it has been requested. */
let starting: Promise<Backend> | null = null;

/** The running GPU, restarted if its device was lost. */
async function startGpu(): Promise<Backend> {
  const running = started.get('gpu');
  if (running !== undefined && running.lost == null) return running;
  starting ??= (async () => {
    try {
      const backend = await GpuBackend.start();
      started.set('gpu', backend);
      return backend;
    } finally {
      starting = null;
    }
  })();
  return starting;
}

/** The number of calls of useDevice: of concurrent calls the last one decides. */
let calls = 0;

/**
 * Selects the default device of new tensors. Existing tensors stay on their devices. A change from the GPU to another device
 * first copies the tensors on the GPU that were uploaded or changed in place, such as parameters, to the host, but not
 * results of operations, so that `model.to('cpu')` and `x.to('cpu')` work from then on.
 *
 * @param device 'auto' selects the GPU if there is one, else the CPU; with 'cpu' and 'gpu' another device is an error
 * @returns the selected device, and the reason
 * @throws TapegradError if the device is not available, with the reason
 */
export async function useDevice(device: 'auto' | Device): Promise<DeviceInfo> {
  checkChoice('useDevice', 'device', device, ['auto', ...devices]);
  const call = ++calls;
  const leaving = started.get(current);
  const { backend, note } = await choose(device);
  if (leaving !== backend) await leaving?.fetchAll?.();
  if (call === calls) current = backend.device;
  const info = backend.info();
  return note === '' ? info : { ...info, reason: `${note}; ${info.reason}` };
}

async function choose(device: 'auto' | Device): Promise<{ backend: Backend; note: string }> {
  if (device === 'gpu') return { backend: await startGpu(), note: '' };
  if (device !== 'auto') return { backend: backendOf(device), note: '' };
  try {
    return { backend: await startGpu(), note: '' };
  } catch (error) {
    if (!(error instanceof TapegradError)) throw error;
    return { backend: backendOf('cpu'), note: `no GPU: ${error.problem}` };
  }
}

import { checkChoice, fail } from '../errors.js';
import type { Backend, Device, DeviceInfo } from './backend.js';
import { CpuBackend } from './cpu/index.js';
import { type Build, chooseBuild } from './cpu/wasm.js';
import { ReferenceBackend } from './reference.js';

const started = new Map<Device, Backend>();
let current: Device = 'cpu';

const starters: Record<Device, () => Backend> = {
  cpu: startCpu,
  gpu: () => fail('device', "there is no 'gpu' device in this version", "use 'cpu'"),
  reference: () => new ReferenceBackend('reference', 'the plain-JavaScript oracle was asked for'),
  float64: () => new ReferenceBackend('float64', 'double precision was asked for, as gradient checks need it'),
};

const devices = Object.keys(starters) as Device[];

/** The best CPU implementation that runs here: WebAssembly, or else plain JavaScript with the reason said. */
export function startCpu(choice: { build: Build } | { obstacle: string } = chooseBuild()): Backend {
  if ('obstacle' in choice) return new ReferenceBackend('cpu', `plain JavaScript, because ${choice.obstacle}`);
  try {
    return new CpuBackend(choice.build);
  } catch (error) {
    return new ReferenceBackend(
      'cpu',
      `plain JavaScript, because the WebAssembly kernels did not start: ${String(error)}`,
    );
  }
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

/** Puts another implementation in a device's place and returns what stood there; for tests of fallbacks. @internal */
export function replaceBackend(device: Device, backend: Backend): Backend {
  const before = backendOf(device);
  started.set(device, backend);
  return before;
}

/** Where tensors are made unless they say otherwise. */
export function currentBackend(): Backend {
  return backendOf(current);
}

/**
 * Chooses where tensors live that do not name a device, and says what was chosen and why.
 *
 * @param device 'auto' takes the best device that works here; 'cpu' and 'gpu' insist
 * @throws TapegradError if the device cannot be used
 */
export async function useDevice(device: 'auto' | Device): Promise<DeviceInfo> {
  checkChoice('useDevice', 'device', device, ['auto', ...devices]);
  const chosen = device === 'auto' ? 'cpu' : device;
  const info = backendOf(chosen).info();
  current = chosen;
  return info;
}

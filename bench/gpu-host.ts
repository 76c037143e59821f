// What the host does for the GPU: submissions, readbacks and writes of a training step, and the time of the calls alone.
import { compile, tensor } from 'tapegrad';
import { median } from './peak.js';
import type { Runner, Workload } from './workloads.js';

interface Queue {
  submit(commands: object[]): void;
  writeBuffer(...args: unknown[]): void;
}
interface Internals {
  runtime: { device: { inner: { queue: Queue } } };
  launch(...args: unknown[]): unknown;
}

/** Steps that are looked at. */
const STEPS = 50;

/** Host costs of a workload, as it is and compiled; only on WebGPU. */
export async function hostCosts(workload: Workload): Promise<Record<string, string | number>[]> {
  // The packed benchmark has no sources to import: the backend is that of a tensor.
  const backend = (tensor([1], { device: 'gpu' }) as unknown as { backend: Internals }).backend;
  const { queue } = backend.runtime.device.inner;
  const counts = { submissions: 0, writes: 0, calls: 0 };
  const restore = { submit: queue.submit.bind(queue), writeBuffer: queue.writeBuffer.bind(queue) };
  const launch = backend.launch.bind(backend);
  queue.submit = (commands) => {
    counts.submissions++;
    restore.submit(commands);
  };
  queue.writeBuffer = (...args) => {
    counts.writes++;
    restore.writeBuffer(...args);
  };
  backend.launch = (...args) => {
    counts.calls++;
    return launch(...args);
  };
  const rows: Record<string, string | number>[] = [];
  try {
    const { run, state } = workload.make();
    for (const [how, step] of [
      ['eager', { run, state }],
      ['compiled', { run: compile(run), state }],
    ] as [string, Runner][]) {
      for (let i = 0; i < 10; i++) await step.run().sum().item();
      Object.assign(counts, { submissions: 0, writes: 0, calls: 0 });
      const microseconds: number[] = [];
      const onHost: number[] = [];
      for (let i = 0; i < STEPS; i++) {
        const begin = performance.now();
        const result = step.run();
        // Kernels are queued in microtasks.
        await new Promise((resolve) => queueMicrotask(() => setTimeout(resolve)));
        microseconds.push(1000 * (performance.now() - begin));
        await result.sum().item();
      }
      const calls = counts.calls / STEPS;
      const { submissions, writes } = counts;
      // What is queued and never submitted costs no device: a device in software would take the host's processor.
      const { submit } = queue;
      queue.submit = () => {};
      for (let i = 0; i < STEPS; i++) {
        const begin = performance.now();
        step.run();
        await new Promise((resolve) => queueMicrotask(() => setImmediate(resolve)));
        onHost.push(1000 * (performance.now() - begin));
      }
      queue.submit = submit;
      rows.push({
        workload: workload.name,
        how,
        'calls a step': +calls.toFixed(1),
        'submissions a step': +(submissions / STEPS).toFixed(1),
        'writes a step': +(writes / STEPS).toFixed(1),
        'readbacks a step': 1,
        'µs a step until queued': Math.round(median(microseconds)),
        'µs a step without a device': Math.round(median(onHost)),
      });
    }
  } finally {
    Object.assign(queue, restore);
    backend.launch = launch;
  }
  return rows;
}

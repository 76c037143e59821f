import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Baseline, ColumnBaseline } from '../../data/baseline.js';
import { largest } from '../../data/baseline.js';
import { metrics } from '../../index.js';
import type { Version } from '../repository/index.js';
import type { Sample } from '../workers/messages.js';

// Drift detection: compares the inputs and outputs of recent requests with the baseline of the training data.

/** The drift of one feature or output. */
export interface ColumnDrift {
  readonly name: string;
  readonly psi: number;
  readonly ks: number;
  readonly pValue: number;
  /** The Wasserstein distance in standard deviations of the training data. */
  readonly distance: number;
  /** With up to 1000 training samples, whether the p-value is below 0.05; with more, whether the distance is at least 0.1. */
  readonly drifted: boolean;
}

/** The drift of one version of a model. */
export interface DriftReport {
  readonly model: string;
  readonly version: string;
  /** The number of samples in the window. */
  readonly rows: number;
  readonly at: Date;
  readonly features: readonly ColumnDrift[];
  readonly outputs: readonly ColumnDrift[];
  /** The population stability index of the predicted classes; null without classes. */
  readonly classPsi: number | null;
  /** The fraction of features with drift. */
  readonly share: number;
}

/** Up to this many training samples the test decides, above the distance; the rule of Evidently. */
const TEST_ROWS = 1000;
/** The fewest samples for a report. */
const MIN_ROWS = 50;
/** Milliseconds of computation between yields to the event loop. */
const SLICE = 2;

/** A ring buffer of the last rows of a growing matrix. */
class Window {
  readonly #values: Float32Array;
  #count = 0;

  constructor(
    readonly capacity: number,
    readonly width: number,
  ) {
    this.#values = new Float32Array(capacity * width);
  }

  get rows(): number {
    return Math.min(this.#count, this.capacity);
  }

  push(values: Float32Array): void {
    for (let at = 0; at < values.length; at += this.width) {
      this.#values.set(values.subarray(at, at + this.width), (this.#count++ % this.capacity) * this.width);
    }
  }

  /** The finite values of a column, in ascending order. */
  column(j: number): Float32Array {
    const out = new Float32Array(this.rows);
    for (let i = 0; i < out.length; i++) out[i] = this.#values[i * this.width + j];
    return out.filter((v) => Number.isFinite(v)).sort();
  }

  row(i: number): Float32Array {
    return this.#values.subarray(i * this.width, (i + 1) * this.width);
  }
}

/** Compares a column with its baseline; null if one of them has no values. @internal */
export function compareColumn(
  sample: Float32Array,
  { name, points }: ColumnBaseline,
  trainingRows: number,
): ColumnDrift | null {
  if (sample.length === 0 || points.length === 0) return null;
  const { statistic, pValue } = metrics.kolmogorovSmirnov(sample, points, trainingRows);
  const mean = points.reduce((s, v) => s + v, 0) / points.length;
  const std = Math.sqrt(points.reduce((s, v) => s + (v - mean) ** 2, 0) / points.length);
  const area = metrics.wasserstein(sample, points);
  const distance = area === 0 ? 0 : area / (std || Math.abs(mean) || 1);
  const drifted = trainingRows <= TEST_ROWS ? pValue < 0.05 : distance >= 0.1;
  return { name, psi: metrics.psi(sample, points), ks: statistic, pValue, distance, drifted };
}

interface Watched {
  readonly version: Version;
  readonly baseline: Baseline;
  readonly inputs: Window;
  readonly outputs: Window;
  report: DriftReport | null;
  /** Whether samples have been added since the last report. */
  fresh: boolean;
}

/** Monitors the drift of all models that have a baseline. */
export class Monitor {
  readonly #watched = new Map<number, Watched>();
  readonly #rows: number;
  #clock: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;

  /** @param rows the number of samples in the window */
  constructor(rows: number) {
    this.#rows = rows;
  }

  start(interval: number): void {
    this.#clock = setInterval(() => void this.update(), interval);
    this.#clock.unref();
  }

  stop(): void {
    clearInterval(this.#clock ?? undefined);
  }

  watch(version: Version): void {
    const { baseline, outputFeatures } = version.info;
    if (baseline === null) return;
    this.#watched.set(version.id, {
      version,
      baseline,
      inputs: new Window(this.#rows, baseline.features.length),
      outputs: new Window(this.#rows, outputFeatures),
      report: null,
      fresh: false,
    });
  }

  forget(version: Version): void {
    this.#watched.delete(version.id);
  }

  add(samples: readonly Sample[]): void {
    for (const { model, inputs, outputs } of samples) {
      const watched = this.#watched.get(model);
      if (watched === undefined) continue;
      watched.inputs.push(inputs);
      watched.outputs.push(outputs);
      watched.fresh = true;
    }
  }

  get reports(): DriftReport[] {
    return [...this.#watched.values()].flatMap((w) => w.report ?? []);
  }

  /** Compares all windows that have changed, yielding to the event loop in between. */
  update(): Promise<void> {
    this.#running ??= this.#update().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #update(): Promise<void> {
    for (const watched of [...this.#watched.values()]) {
      if (watched.fresh && watched.inputs.rows >= MIN_ROWS) watched.report = await this.#compare(watched);
    }
  }

  async #compare(watched: Watched): Promise<DriftReport> {
    const { version, baseline, inputs, outputs } = watched;
    watched.fresh = false;
    let started = performance.now();
    const columns = async (window: Window, baselines: readonly ColumnBaseline[]) => {
      const all: ColumnDrift[] = [];
      for (const [j, column] of baselines.entries()) {
        const drift = compareColumn(window.column(j), column, baseline.rows);
        if (drift !== null) all.push(drift);
        if (performance.now() - started < SLICE) continue;
        await nextTurn();
        started = performance.now();
      }
      return all;
    };
    const features = await columns(inputs, baseline.features);
    let classPsi: number | null = null;
    if (baseline.classes.length > 0) {
      const counts = baseline.classes.map(() => 0);
      for (let i = 0; i < outputs.rows; i++) counts[largest(outputs.row(i))]++;
      classPsi = metrics.psiOfCounts(counts, baseline.classes);
    }
    return {
      model: version.name,
      version: version.version,
      rows: inputs.rows,
      at: new Date(),
      features,
      outputs: await columns(outputs, baseline.outputs),
      classPsi,
      share: features.filter((f) => f.drifted).length / Math.max(1, features.length),
    };
  }
}

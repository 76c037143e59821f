import type * as Prometheus from 'prom-client';
import type { Failure, Repository, Version } from '../repository/index.js';
import type { Pool } from '../workers/pool.js';
import type { QueuedAnswer } from '../workers/queue.js';
import type { Feedback } from './feedback.js';
import type { Monitor } from './monitor.js';

// Prometheus metrics: /metrics has KServe's names and those of tapegrad, in base units as promtool requires; /metrics/triton
// has Triton's names, which violate promtool's rules (microseconds, counters without _total).

/** Totals of one version of a model. */
interface Tally {
  readonly model: string;
  readonly version: string;
  readonly codes: Map<number, number>;
  rows: number;
  passes: number;
  /** Seconds. */
  request: number;
  queue: number;
  compute: number;
}

const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** The limit on time series of features; for models with more features, those with the largest drift. */
const FEATURE_SERIES = 100;
/** The limit on versions that are remembered as gone. */
const MOST_GONE = 1000;

export interface Sources {
  readonly pool: Pool;
  readonly repository: Repository;
  readonly monitor: Monitor;
  readonly feedback: Feedback;
}

/** The metrics of a server. */
export class Metrics {
  readonly registry: Prometheus.Registry;
  readonly triton: Prometheus.Registry;
  readonly #tallies = new Map<string, Tally>();
  /** The versions that are gone: requests that were in progress then are not counted, as they would bring the series back. */
  readonly #gone = new Set<string>();
  readonly #latency: Prometheus.Histogram;
  readonly #queue: Prometheus.Histogram;
  readonly #batch: Prometheus.Histogram;
  readonly #stages: Record<'preprocess' | 'predict' | 'postprocess', Prometheus.Histogram>;
  readonly #loads: Prometheus.Histogram;
  readonly #failures: Prometheus.Counter;
  readonly #deaths: Prometheus.Counter;

  constructor(prometheus: typeof Prometheus) {
    this.registry = new prometheus.Registry();
    this.triton = new prometheus.Registry();
    prometheus.collectDefaultMetrics({ register: this.registry });
    // Gauges with the suffix of counters, which promtool rejects.
    for (const what of ['handles', 'requests', 'resources'])
      this.registry.removeSingleMetric(`nodejs_active_${what}_total`);
    const registers = [this.registry];
    const histogram = (name: string, help: string, labelNames: string[], buckets = SECONDS) =>
      new prometheus.Histogram({ name, help, labelNames, buckets, registers });
    const counter = (name: string, help: string, labelNames: string[] = []) =>
      new prometheus.Counter({ name, help, labelNames, registers });
    this.#latency = histogram(
      'tapegrad_request_duration_seconds',
      'Time from the arrival of an inference request to its response.',
      ['model', 'version'],
    );
    this.#queue = histogram('tapegrad_queue_duration_seconds', 'Time that requests waited for a worker.', [
      'model',
      'version',
    ]);
    this.#batch = histogram(
      'tapegrad_batch_rows',
      'Samples in one forward pass.',
      ['model', 'version'],
      [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
    );
    const stage = (name: string, help: string) => histogram(`request_${name}_seconds`, help, ['model_name']);
    this.#stages = {
      preprocess: stage('preprocess', 'Parsing a request (KServe).'),
      predict: stage('predict', 'Preprocessors and forward pass (KServe).'),
      postprocess: stage('postprocess', 'Encoding the response (KServe).'),
    };
    this.#loads = histogram(
      'tapegrad_model_load_duration_seconds',
      'Reading, checking and warming up a model.',
      ['model', 'version'],
      [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60],
    );
    this.#failures = counter('tapegrad_model_load_failures_total', 'Versions that failed to load.', [
      'model',
      'version',
    ]);
    this.#deaths = counter('tapegrad_worker_deaths_total', 'Inference workers that died and were replaced.');
    const tallies = this.#tallies;
    new prometheus.Counter({
      name: 'tapegrad_requests_total',
      help: 'Inference requests by model, version and status.',
      labelNames: ['model', 'version', 'code'],
      registers,
      collect() {
        this.reset();
        for (const { model, version, codes } of tallies.values()) {
          for (const [code, n] of codes) this.inc({ model, version, code: String(code) }, n);
        }
      },
    });
    this.#tritonNames(prometheus);
  }

  /** Adds the gauges that are computed when metrics are read. */
  observe(prometheus: typeof Prometheus, { pool, repository, monitor, feedback }: Sources): void {
    const registers = [this.registry];
    const gauge = (
      name: string,
      help: string,
      labelNames: string[],
      collect: (set: (labels: Record<string, string>, value: number) => void) => void,
    ) =>
      new prometheus.Gauge({
        name,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          collect((labels, value) => this.set(labels, value));
        },
      });
    const label = ({ name: model, version }: { name: string; version: string }) => ({ model, version });
    gauge('tapegrad_queue_depth', 'Requests that are waiting or being computed.', [], (set) => set({}, pool.depth));
    gauge('tapegrad_workers_ready', 'Inference workers that are ready.', [], (set) => set({}, pool.readyWorkers));
    gauge(
      'tapegrad_model_ready',
      '1 for loaded versions, 0 for versions that failed to load.',
      ['model', 'version'],
      (set) => {
        for (const v of repository.loaded) set(label(v), 1);
        for (const f of repository.failures) set(label(f), 0);
      },
    );
    const drift = (name: string, help: string, pick: (c: { psi: number; ks: number; distance: number }) => number) =>
      gauge(name, help, ['model', 'version', 'column'], (set) => {
        for (const { model, version, features, outputs } of monitor.reports) {
          const most =
            features.length <= FEATURE_SERIES
              ? features
              : [...features].sort((a, b) => b.psi - a.psi).slice(0, FEATURE_SERIES);
          for (const c of [...most, ...outputs]) set({ model, version, column: c.name }, pick(c));
        }
      });
    drift('tapegrad_drift_psi', 'Population stability index against the training data.', (c) => c.psi);
    drift('tapegrad_drift_ks', 'Kolmogorov-Smirnov statistic against the training data.', (c) => c.ks);
    drift(
      'tapegrad_drift_wasserstein',
      'Wasserstein distance from the training data, in its standard deviations.',
      (c) => c.distance,
    );
    gauge('tapegrad_drift_share_ratio', 'The fraction of features with drift.', ['model', 'version'], (set) => {
      for (const { model, version, share } of monitor.reports) set({ model, version }, share);
    });
    gauge(
      'tapegrad_drift_classes_psi',
      'Population stability index of the predicted classes.',
      ['model', 'version'],
      (set) => {
        for (const { model, version, classPsi } of monitor.reports)
          if (classPsi !== null) set({ model, version }, classPsi);
      },
    );
    gauge(
      'tapegrad_live_accuracy_ratio',
      'The fraction of correct classes among the last labels.',
      ['model', 'version'],
      (set) => {
        for (const { model, version, accuracy } of feedback.quality)
          if (accuracy !== null) set({ model, version }, accuracy);
      },
    );
    gauge(
      'tapegrad_live_absolute_error',
      'The mean absolute error among the last labels.',
      ['model', 'version'],
      (set) => {
        for (const { model, version, meanAbsoluteError } of feedback.quality)
          if (meanAbsoluteError !== null) set({ model, version }, meanAbsoluteError);
      },
    );
  }

  /** Records an answered inference request, `milliseconds` after its arrival. */
  request(model: string, version: string, code: number, milliseconds: number): void {
    if (this.#isGone(model, version)) return;
    const tally = this.#tally(model, version);
    tally.codes.set(code, (tally.codes.get(code) ?? 0) + 1);
    tally.request += milliseconds / 1000;
    this.#latency.observe({ model, version }, milliseconds / 1000);
  }

  /** Records the work for an inference request. */
  inference({ name: model, version }: Version, answer: QueuedAnswer): void {
    if (this.#isGone(model, version)) return;
    const tally = this.#tally(model, version);
    tally.rows += answer.rows;
    tally.queue += answer.queued / 1000;
    tally.compute += answer.predict / 1000;
    this.#queue.observe({ model, version }, answer.queued / 1000);
    if (answer.executed > 0) {
      tally.passes++;
      this.#batch.observe({ model, version }, answer.executed);
    }
    const labels = { model_name: model };
    this.#stages.preprocess.observe(labels, answer.preprocess / 1000);
    this.#stages.predict.observe(labels, answer.predict / 1000);
    this.#stages.postprocess.observe(labels, answer.postprocess / 1000);
  }

  #isGone(model: string, version: string): boolean {
    return this.#gone.size > 0 && this.#gone.has(`${model}/${version}`);
  }

  loaded({ name: model, version, seconds }: Version): void {
    this.#gone.delete(`${model}/${version}`);
    this.#loads.observe({ model, version }, seconds);
  }

  failed({ name: model, version }: Failure): void {
    this.#failures.inc({ model, version });
  }

  /** Removes the series of a version that is gone; those of its model stay if that `has` other versions. */
  forget(model: string, version: string, has: boolean): void {
    this.#gone.add(`${model}/${version}`);
    if (this.#gone.size > MOST_GONE) this.#gone.delete(this.#gone.values().next().value!);
    this.#tallies.delete(`${model}/${version}`);
    for (const series of [this.#latency, this.#queue, this.#batch, this.#loads, this.#failures])
      series.remove({ model, version });
    if (!has) for (const series of Object.values(this.#stages)) series.remove({ model_name: model });
  }

  workerDied(): void {
    this.#deaths.inc();
  }

  /** Totals for the status page. */
  get totals(): { model: string; version: string; requests: number; errors: number; rows: number; seconds: number }[] {
    return [...this.#tallies.values()].map(({ model, version, codes, rows, request }) => {
      const sum = (which: (code: number) => boolean) =>
        [...codes].reduce((n, [code, c]) => n + (which(code) ? c : 0), 0);
      return { model, version, requests: sum(() => true), errors: sum((code) => code >= 400), rows, seconds: request };
    });
  }

  #tally(model: string, version: string): Tally {
    const key = `${model}/${version}`;
    let tally = this.#tallies.get(key);
    if (tally === undefined) {
      tally = { model, version, codes: new Map(), rows: 0, passes: 0, request: 0, queue: 0, compute: 0 };
      this.#tallies.set(key, tally);
    }
    return tally;
  }

  #tritonNames(prometheus: typeof Prometheus): void {
    const tallies = this.#tallies;
    const count = (name: string, help: string, of: (t: Tally) => number) =>
      new prometheus.Counter({
        name,
        help,
        labelNames: ['model', 'version'],
        registers: [this.triton],
        collect() {
          this.reset();
          for (const t of tallies.values())
            if (t.version !== '') this.inc({ model: t.model, version: t.version }, of(t));
        },
      });
    const codes = (t: Tally, which: (code: number) => boolean) =>
      [...t.codes].reduce((n, [code, c]) => n + (which(code) ? c : 0), 0);
    count('nv_inference_request_success', 'Number of successful inference requests', (t) => codes(t, (c) => c < 400));
    count('nv_inference_request_failure', 'Number of failed inference requests', (t) => codes(t, (c) => c >= 400));
    count('nv_inference_count', 'Number of inferences performed', (t) => t.rows);
    count('nv_inference_exec_count', 'Number of model executions performed', (t) => t.passes);
    count('nv_inference_request_duration_us', 'Cumulative inference request duration', (t) => t.request * 1e6);
    count('nv_inference_queue_duration_us', 'Cumulative queuing duration', (t) => t.queue * 1e6);
    count('nv_inference_compute_infer_duration_us', 'Cumulative compute duration', (t) => t.compute * 1e6);
  }
}

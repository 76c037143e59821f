import { refuse } from '../errors.js';
import type { Version } from '../repository/index.js';

// Feedback: matches predictions with labels that arrive later, and computes live quality.

/** The recent quality of a version, from the labels in the window. */
export interface LiveQuality {
  readonly model: string;
  readonly version: string;
  /** Labels in the window. */
  readonly labels: number;
  /** The fraction of correct classes; null for models with one output. */
  readonly accuracy: number | null;
  /** The mean of |prediction - label|; null for models with classes. */
  readonly meanAbsoluteError: number | null;
}

/** The limit on predictions kept for feedback. */
const CAPACITY = 20_000;
/** The limit on the body of a request with labels: room for the labels of the largest prediction that is kept. */
export const FEEDBACK_BODY = 65_536;
/** The number of labels over which the quality is computed. */
const WINDOW = 1000;

/** An id as it is kept: each client has its own, so that none can take away the predictions of another. */
export const ownId = (client: string, id: string): string => `${client.length} ${client} ${id}`;

/** Recent predictions and their labels. */
export class Feedback {
  /** Indices of predictions by id. */
  readonly #indices = new Map<string, number>();
  // A ring buffer: finding the oldest entry of a Map slows down with the number of deletions. A single class is stored as a
  // number, to allocate less for each request.
  readonly #ids: (readonly string[])[] = [];
  readonly #versions: Version[] = [];
  readonly #chosen: (number | Float32Array)[] = [];
  #next = 0;
  readonly #errors = new Map<number, { version: Version; errors: number[]; next: number }>();
  /** Versions that were replaced or removed: labels that arrive later must not bring their quality back. */
  readonly #gone = new WeakSet<Version>();
  readonly #sampleRate: number;

  /** @param sampleRate the fraction of predictions that are kept, 0..1 */
  constructor(sampleRate: number) {
    this.#sampleRate = sampleRate;
  }

  /** Keeps a prediction under its ids until its labels arrive, or until newer ones replace it. */
  remember(ids: readonly string[], version: Version, chosen: Float32Array): void {
    if (chosen.length === 0 || (this.#sampleRate < 1 && Math.random() >= this.#sampleRate)) return;
    const at = this.#next;
    this.#next = (at + 1) % CAPACITY;
    if (at < this.#ids.length) this.#drop(at);
    this.#ids[at] = ids;
    this.#versions[at] = version;
    // A copy, because the array is a view into the buffer of a whole message from a worker.
    this.#chosen[at] = chosen.length === 1 ? chosen[0] : chosen.slice();
    for (const id of ids) this.#indices.set(id, at);
  }

  /** Removes the ids of a prediction, unless a newer one has them. */
  #drop(at: number): void {
    for (const id of this.#ids[at]) if (this.#indices.get(id) === at) this.#indices.delete(id);
  }

  /** The version that computed the prediction with an id. */
  versionOf(id: string): Version | undefined {
    const at = this.#indices.get(id);
    return at === undefined ? undefined : this.#versions[at];
  }

  /** Matches a prediction with its labels, once. @throws RequestError for an unknown id and labels that do not match */
  label(id: string, labels: readonly number[]): { version: Version; matched: number } {
    const at = this.#indices.get(id);
    if (at === undefined)
      refuse(
        'there is no unlabelled prediction with this id',
        'it was already labelled, not sampled, or is too old',
        404,
      );
    const version = this.#versions[at];
    if (this.#gone.has(version))
      refuse('the version that computed this prediction is no longer loaded', 'label predictions of newer ones', 404);
    const kept = this.#chosen[at];
    const chosen = typeof kept === 'number' ? [kept] : kept;
    if (labels.length !== chosen.length)
      refuse(`${labels.length} labels for ${chosen.length} rows`, 'send one label for each row of the request');
    const classes = version.info.outputFeatures;
    const wrong = labels.find((l) => classes > 1 && !(Number.isInteger(l) && l >= 0 && l < classes));
    if (wrong !== undefined) refuse(`a label is ${wrong}`, `labels are integers from 0 to ${classes - 1}`);
    this.#drop(at);
    const own = this.#errors.get(version.id) ?? { version, errors: [], next: 0 };
    this.#errors.set(version.id, own);
    labels.forEach((label, i) => {
      own.errors[own.next] = classes > 1 ? Number(label !== chosen[i]) : Math.abs(label - chosen[i]);
      own.next = (own.next + 1) % WINDOW;
    });
    return { version, matched: labels.length };
  }

  forget(version: Version): void {
    this.#gone.add(version);
    this.#errors.delete(version.id);
  }

  get quality(): LiveQuality[] {
    return [...this.#errors.values()].map(({ version, errors }) => {
      const mean = errors.reduce((s, e) => s + e, 0) / errors.length;
      const classes = version.info.outputFeatures > 1;
      return {
        model: version.name,
        version: version.version,
        labels: errors.length,
        accuracy: classes ? 1 - mean : null,
        meanAbsoluteError: classes ? null : mean,
      };
    });
  }
}

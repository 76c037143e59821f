import { refuse } from './errors.js';
import type { Version } from './repository.js';

// Predictions that wait for the right answers, and what came of them.

/** How a version did lately, by the answers that arrived. */
export interface LiveQuality {
  readonly model: string;
  readonly version: string;
  /** Labels in the window. */
  readonly labels: number;
  /** The share of right classes; null for models with one output. */
  readonly accuracy: number | null;
  /** The mean of |prediction - label|; null for models with classes. */
  readonly meanAbsoluteError: number | null;
}

/** Predictions that are remembered. */
const REMEMBERED = 20_000;
/** Labels over which the quality is computed. */
const WINDOW = 1000;

export class Feedback {
  /** Where predictions lie, by their ids. */
  readonly #places = new Map<string, number>();
  // A ring: finding the oldest in the map would take the longer the more have been deleted. One number or a few are kept
  // as they are: each request's garbage counts.
  readonly #ids: string[] = [];
  readonly #versions: Version[] = [];
  readonly #chosen: (number | Float32Array)[] = [];
  #next = 0;
  readonly #errors = new Map<number, { version: Version; errors: number[]; next: number }>();
  readonly #share: number;

  /** @param share of the predictions that are remembered, 0..1 */
  constructor(share: number) {
    this.#share = share;
  }

  /** Keeps what was predicted until its labels come, or until it is the oldest of too many. */
  remember(id: string, version: Version, chosen: Float32Array): void {
    if (chosen.length === 0 || (this.#share < 1 && Math.random() >= this.#share)) return;
    const at = this.#next;
    this.#next = (at + 1) % REMEMBERED;
    if (at < this.#ids.length && this.#places.get(this.#ids[at]) === at) this.#places.delete(this.#ids[at]);
    this.#ids[at] = id;
    this.#versions[at] = version;
    // A copy, because what comes from a worker lies in one buffer with all that came with it.
    this.#chosen[at] = chosen.length === 1 ? chosen[0] : chosen.slice();
    this.#places.set(id, at);
  }

  /** The version that predicted under an id. */
  versionOf(id: string): Version | undefined {
    const at = this.#places.get(id);
    return at === undefined ? undefined : this.#versions[at];
  }

  /** Takes the labels of a prediction, once. @throws RequestError for an id that is not remembered and labels that do not fit */
  label(id: string, labels: readonly number[]): { version: Version; matched: number } {
    const at = this.#places.get(id);
    if (at === undefined)
      refuse(
        'no prediction waits for a label under this id',
        'it was labelled already, not sampled, or is too old',
        404,
      );
    const version = this.#versions[at];
    const kept = this.#chosen[at];
    const chosen = typeof kept === 'number' ? [kept] : kept;
    if (labels.length !== chosen.length)
      refuse(`${labels.length} labels for ${chosen.length} rows`, 'send one label for each row of the request');
    const classes = version.info.outputFeatures;
    const wrong = labels.find((l) => classes > 1 && !(Number.isInteger(l) && l >= 0 && l < classes));
    if (wrong !== undefined) refuse(`a label is ${wrong}`, `they are whole numbers from 0 to ${classes - 1}`);
    this.#places.delete(id);
    const own = this.#errors.get(version.id) ?? { version, errors: [], next: 0 };
    this.#errors.set(version.id, own);
    labels.forEach((label, i) => {
      own.errors[own.next] = classes > 1 ? Number(label !== chosen[i]) : Math.abs(label - chosen[i]);
      own.next = (own.next + 1) % WINDOW;
    });
    return { version, matched: labels.length };
  }

  forget(version: Version): void {
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

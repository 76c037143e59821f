import { setTimeout as sleep } from 'node:timers/promises';
import { TapegradError } from '../../errors.js';
import type { Pool } from '../workers/pool.js';
import { look, readModel } from './file.js';
import { byVersion, FILE, type Found, find, type Ignored } from './find.js';
import {
  type Failure,
  fresh,
  type Known,
  type RepositoryEvents,
  type RepositoryOptions,
  type Version,
} from './state.js';
import { reasonOf } from './text.js';

export { type Ignored, validName } from './find.js';
export type { Failure, Version } from './state.js';

// The model repository: a folder of name/version/model.safetensors, scanned every second. A new version is loaded in every
// worker before it receives requests; one that fails to load is named with the reason, and tried again. What cannot be read
// for a while changes nothing. Without a folder (multi-model mode) models are loaded and unloaded by name.

interface Candidate {
  readonly name: string;
  readonly version: string;
  readonly path: string;
}

/** Milliseconds after which a scan on request looks again at files that have just changed. */
const CONFIRM = 100;
/** Milliseconds before the first attempt to load a version again, doubled for each further one up to the limit. */
const BACKOFF = 1000;
const LONGEST_BACKOFF = 300_000;

/** The models of a server. */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #pool: Pool;
  readonly #events: RepositoryEvents;
  readonly #models = new Map<string, Map<string, Known>>();
  /** Models that were unloaded by request, which scans leave alone. */
  readonly #unloaded = new Set<string>();
  #ignored: readonly Ignored[] = [];
  #ids = 0;
  #running: Promise<void> | null = null;
  #next: Promise<void> | null = null;
  #clock: NodeJS.Timeout | null = null;
  /** Whether the first scan has ended. */
  #started = false;

  constructor(options: RepositoryOptions, pool: Pool, events: RepositoryEvents) {
    this.#options = options;
    this.#pool = pool;
    this.#events = events;
    this.#started = options.folder === null;
  }

  /** Requires that the folder can be listed. @throws TapegradError if it cannot */
  async check(): Promise<void> {
    const { folder } = this.#options;
    if (folder === null) return;
    await find(folder).catch((cause: Error) => {
      const remedy = `pass a folder of name/version/${FILE}`;
      throw new TapegradError('serve', `cannot read the model repository ${folder}: ${cause.message}`, remedy, {
        cause,
      });
    });
  }

  /** Loads all versions, and then scans every `interval` milliseconds. */
  async start(interval: number): Promise<void> {
    if (this.#options.folder === null) return;
    await this.scan();
    this.#started = true;
    this.#clock = setInterval(() => {
      if (this.#running !== null) return;
      this.#run(false).catch((error: unknown) => this.#note([{ path: '', reason: reasonOf(error) }]));
    }, interval);
    this.#clock.unref();
  }

  stop(): void {
    clearInterval(this.#clock ?? undefined);
  }

  /** The highest loaded version of a model, or the given one; null if there is none. */
  get(name: string, version?: string): Version | null {
    const versions = this.#models.get(name);
    if (versions === undefined) return null;
    if (version !== undefined) return versions.get(version)?.loaded ?? null;
    let newest: Version | null = null;
    for (const { loaded } of versions.values()) {
      if (loaded !== null && (newest === null || byVersion(loaded.version, newest.version) > 0)) newest = loaded;
    }
    return newest;
  }

  /** The loaded versions of a model, in ascending order. */
  versions(name: string): Version[] {
    const known = [...(this.#models.get(name)?.values() ?? [])];
    return known.flatMap((k) => k.loaded ?? []).sort((a, b) => byVersion(a.version, b.version));
  }

  has(name: string): boolean {
    return this.#models.has(name);
  }

  /** Loads a file as version 1 of a new model. @throws Error naming the problem with the file; the model is not added then */
  async add(name: string, path: string): Promise<Version> {
    const { stamp } = await look(path, this.#options.maxModel);
    await this.#load({ name, version: '1', path }, stamp);
    const { loaded, failure } = this.#models.get(name)!.get('1')!;
    if (loaded !== null) return loaded;
    this.#models.delete(name);
    throw new Error(failure!.reason);
  }

  /** Removes a model; requests in progress are still answered. */
  remove(name: string): void {
    const versions = this.versions(name);
    const known = [...(this.#models.get(name)?.keys() ?? [])];
    this.#models.delete(name);
    for (const version of versions) this.#retire(version);
    for (const version of known) this.#events.onGone(name, version);
  }

  /** Unloads a model of the folder until `reload` is called. */
  unload(name: string): void {
    this.#unloaded.add(name);
    this.remove(name);
  }

  /** Loads what the folder has of a model, also after `unload`. */
  async reload(name: string): Promise<void> {
    this.#unloaded.delete(name);
    await this.scan();
  }

  /** All loaded versions, by name. */
  get loaded(): Version[] {
    return [...this.#models.keys()].sort().flatMap((name) => this.versions(name));
  }

  /** All versions that failed to load. */
  get failures(): Failure[] {
    return [...this.#models.values()].flatMap((versions) =>
      [...versions.values()].flatMap((k) => k.unreadable ?? k.failure ?? []),
    );
  }

  /** What is in the folder and is no version of a model, with the reasons. */
  get ignored(): readonly Ignored[] {
    return this.#ignored;
  }

  /**
   * Whether the first scan has ended and a model is loaded (in multi-model mode none need be); with strictReady also whether
   * no version has failed. A new model that is being copied or is broken does not take the others out of service.
   */
  get ready(): boolean {
    const { folder, strictReady } = this.#options;
    const serves = folder === null || [...this.#models.keys()].some((name) => this.get(name) !== null);
    return this.#started && serves && !(strictReady && this.failures.length > 0);
  }

  /** Loads new and changed versions, also those that have failed, and unloads removed ones. */
  async scan(): Promise<void> {
    if (this.#options.folder === null) return;
    // A scan that is running may have passed by what the caller has just written.
    this.#next ??= Promise.allSettled([this.#running]).then(() => {
      this.#next = null;
      return this.#run(true);
    });
    return this.#next;
  }

  #run(requested: boolean): Promise<void> {
    this.#running = this.#scan(requested).finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  async #scan(requested: boolean): Promise<void> {
    let found: Found;
    try {
      found = await find(this.#options.folder!);
    } catch (error) {
      this.#note([{ path: '', reason: `the folder cannot be listed, and all models stay: ${reasonOf(error)}` }]);
      return;
    }
    const ignored = [...found.ignored];
    const due: (Candidate & { stamp: string })[] = [];
    const recent: typeof due = [];
    for (const [name, versions] of found.models) {
      if (versions === null || this.#unloaded.has(name)) continue;
      const present = new Set<string>();
      const changed: { candidate: Candidate & { stamp: string }; when: 'now' | 'soon' }[] = [];
      for (const { version, path } of this.#selected(name, versions, ignored)) {
        const state = await this.#look({ name, version, path }, requested);
        if (state !== null || this.#mayReturn(name, version, requested)) present.add(version);
        if (state === null) ignored.push({ path: `${name}/${version}`, reason: `there is no ${FILE} in it` });
        else if (state.when !== 'later')
          changed.push({ candidate: { name, version, path, stamp: state.stamp }, when: state.when });
      }
      this.#removeAbsent(name, present);
      for (const { candidate, when } of changed)
        if (!this.#isBelowPolicy(name, candidate.version)) (when === 'now' ? due : recent).push(candidate);
    }
    for (const name of [...this.#models.keys()]) if (!found.models.has(name)) this.remove(name);
    this.#note(ignored);
    if (recent.length > 0) {
      await sleep(CONFIRM);
      for (const candidate of recent) {
        const again = await look(candidate.path, this.#options.maxModel).catch(() => null);
        if (again?.stamp === candidate.stamp) due.push(candidate);
      }
    }
    for (const { stamp, ...candidate } of due) await this.#load(candidate, stamp);
    this.#applyPolicies();
  }

  /** Whether a version stays whose file is gone: the last one of a model does for a while, as a copy may be replacing it. */
  #mayReturn(name: string, version: string, requested: boolean): boolean {
    const known = this.#models.get(name)?.get(version);
    if (requested || known === undefined || known.loaded === null || this.versions(name).length > 1) return false;
    known.goneSince ??= performance.now();
    return performance.now() - known.goneSince < 2 * this.#options.settle;
  }

  /** The versions that the policy of a model may load. */
  #selected(name: string, versions: readonly { version: string; path: string }[], ignored: Ignored[]) {
    const policy = this.#policyOf(name);
    if (!Array.isArray(policy)) return versions;
    for (const { version } of versions) {
      if (!policy.includes(version))
        ignored.push({ path: `${name}/${version}`, reason: 'the option `versions` does not name it' });
    }
    return versions.filter(({ version }) => policy.includes(version));
  }

  #policyOf(name: string): number | readonly string[] | undefined {
    const { versions } = this.#options;
    return (Object.hasOwn(versions, name) ? versions[name] : undefined) ?? versions['*'];
  }

  /** Whether to load a file now, after another look, or later; null if there is none. */
  async #look(
    candidate: Candidate,
    requested: boolean,
  ): Promise<{ stamp: string; when: 'now' | 'soon' | 'later' } | null> {
    const { name, version, path } = candidate;
    const known = this.#models.get(name)?.get(version) ?? fresh();
    const now = performance.now();
    let stamp: string;
    let changed: number;
    try {
      ({ stamp, changed } = await look(path, this.#options.maxModel));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      this.#fail(candidate, known, 'unreadable', reasonOf(error));
      return { stamp: '', when: 'later' };
    }
    this.#remember(candidate, known);
    known.unreadable = null;
    known.goneSince = null;
    if (known.seen?.stamp !== stamp) known.seen = { stamp, since: now };
    if (known.stamp === stamp && known.failure === null) return { stamp, when: 'later' };
    if (known.stamp === stamp) return { stamp, when: requested || now >= known.retryAt ? 'now' : 'later' };
    // The wall clock can be wrong; it only saves the wait for files that were there long before the server.
    if (requested) return { stamp, when: Date.now() - changed > 2 * this.#options.settle ? 'now' : 'soon' };
    return { stamp, when: now - known.seen.since >= this.#options.settle ? 'now' : 'later' };
  }

  /** Whether a policy of the latest N has N loaded versions above this one. */
  #isBelowPolicy(name: string, version: string): boolean {
    const policy = this.#policyOf(name);
    if (typeof policy !== 'number') return false;
    return this.versions(name).filter((v) => byVersion(v.version, version) > 0).length >= policy;
  }

  /** Unloads versions below the latest N that a policy allows. */
  #applyPolicies(): void {
    for (const [name, versions] of this.#models) {
      for (const version of this.versions(name)) {
        if (!this.#isBelowPolicy(name, version.version)) continue;
        const known = versions.get(version.version)!;
        known.loaded = null;
        // It is loaded again when those above it are gone.
        known.stamp = null;
        this.#retire(version);
        this.#events.onGone(name, version.version);
      }
    }
  }

  #remember({ name, version }: Candidate, known: Known): void {
    const versions = this.#models.get(name) ?? new Map<string, Known>();
    versions.set(version, known);
    this.#models.set(name, versions);
  }

  #removeAbsent(name: string, present: ReadonlySet<string>): void {
    const versions = this.#models.get(name);
    if (versions === undefined) return;
    for (const [version, { loaded }] of versions) {
      if (present.has(version)) continue;
      versions.delete(version);
      if (loaded !== null) this.#retire(loaded);
      this.#events.onGone(name, version);
    }
    if (versions.size === 0) this.#models.delete(name);
  }

  async #load(candidate: Candidate, stamp: string): Promise<void> {
    const { name, version, path } = candidate;
    const known = this.#models.get(name)?.get(version) ?? fresh();
    this.#remember(candidate, known);
    if (known.stamp !== stamp) known.failures = 0;
    known.stamp = stamp;
    const started = performance.now();
    const id = ++this.#ids;
    try {
      const bytes = await readModel(path, stamp, this.#options.maxModel);
      const info = await this.#pool.load(id, { name, version, bytes });
      const seconds = (performance.now() - started) / 1000;
      const before = known.loaded;
      known.loaded = { id, name, version, info, loadedAt: new Date(), seconds };
      known.failure = null;
      known.failures = 0;
      this.#events.onLoaded(known.loaded);
      if (before !== null) this.#retire(before);
    } catch (error) {
      known.retryAt = performance.now() + Math.min(LONGEST_BACKOFF, BACKOFF * 2 ** known.failures++);
      this.#fail(candidate, known, 'failure', reasonOf(error));
    }
  }

  #fail(candidate: Candidate, known: Known, kind: 'failure' | 'unreadable', reason: string): void {
    const isNew = known[kind]?.reason !== reason;
    const failure = { name: candidate.name, version: candidate.version, reason };
    known[kind] = failure;
    this.#remember(candidate, known);
    if (isNew) this.#events.onFailed(failure);
  }

  /** Replaces the list of what is ignored, and reports what is new in it. */
  #note(ignored: readonly Ignored[]): void {
    const before = new Set(this.#ignored.map(({ path, reason }) => `${path}\n${reason}`));
    this.#ignored = ignored;
    for (const entry of ignored) if (!before.has(`${entry.path}\n${entry.reason}`)) this.#events.onIgnored(entry);
  }

  #retire(version: Version): void {
    this.#events.onUnloaded(version);
    this.#pool.unload(version.id);
  }
}

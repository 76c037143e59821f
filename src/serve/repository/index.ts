import type { Dirent } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TapegradError } from '../../errors.js';
import type { LoadedModel } from '../workers/messages.js';
import type { Pool } from '../workers/pool.js';

// The model repository: a folder of name/version/model.safetensors, scanned every second. A new version is loaded in every
// worker before it receives requests; a version that fails to load is listed with its error. Without a folder (multi-model
// mode) models are loaded and unloaded by name.

const FILE = 'model.safetensors';
/** Valid names of models and versions, which are parts of URLs and paths. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const VERSION = /^[1-9]\d{0,8}$/;

export const validName = (name: string): boolean => NAME.test(name);

/** A loaded version of a model. */
export interface Version {
  readonly id: number;
  readonly name: string;
  readonly version: string;
  readonly info: LoadedModel;
  readonly loadedAt: Date;
  /** The duration of loading, in seconds. */
  readonly seconds: number;
}

/** A version that failed to load. */
export interface Failure {
  readonly name: string;
  readonly version: string;
  readonly reason: string;
}

export interface RepositoryEvents {
  readonly onLoaded: (version: Version) => void;
  readonly onUnloaded: (version: Version) => void;
  readonly onFailed: (failure: Failure) => void;
}

interface Known {
  /** Identifies the state of the file: inode, size and modification time. */
  readonly stamp: string;
  readonly loaded: Version | null;
  readonly failure: Failure | null;
}

interface Found {
  readonly name: string;
  readonly version: string;
  readonly path: string;
}

/** The models of a server. */
export class Repository {
  readonly #folder: string | null;
  readonly #pool: Pool;
  readonly #events: RepositoryEvents;
  readonly #models = new Map<string, Map<string, Known>>();
  #ids = 0;
  #scanning: Promise<void> | null = null;
  #clock: NodeJS.Timeout | null = null;

  /** @param folder null if models are only loaded by `add` */
  constructor(folder: string | null, pool: Pool, events: RepositoryEvents) {
    this.#folder = folder;
    this.#pool = pool;
    this.#events = events;
  }

  /** Loads all versions, and scans every `interval` milliseconds. @throws TapegradError if the folder cannot be read */
  async start(interval: number): Promise<void> {
    if (this.#folder === null) return;
    await this.#find(this.#folder);
    await this.scan();
    this.#clock = setInterval(() => void this.scan().catch(() => {}), interval);
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
      if (loaded !== null && Number(loaded.version) > Number(newest?.version ?? 0)) newest = loaded;
    }
    return newest;
  }

  /** The loaded versions of a model, in ascending order. */
  versions(name: string): Version[] {
    const known = [...(this.#models.get(name)?.values() ?? [])];
    return known.flatMap((k) => k.loaded ?? []).sort((a, b) => Number(a.version) - Number(b.version));
  }

  has(name: string): boolean {
    return this.#models.has(name);
  }

  /** Loads a file as version 1 of a new model. @throws Error naming the problem with the file; the model is not added then */
  async add(name: string, path: string): Promise<Version> {
    await this.#load(name, '1', path, '');
    const { loaded, failure } = this.#models.get(name)!.get('1')!;
    if (loaded !== null) return loaded;
    this.#models.delete(name);
    throw new Error(failure!.reason);
  }

  /** Removes a model; requests in progress are still answered. */
  remove(name: string): void {
    const versions = this.versions(name);
    this.#models.delete(name);
    versions.forEach((version) => {
      this.#retire(version);
    });
  }

  /** All loaded versions. */
  get loaded(): Version[] {
    return [...this.#models.keys()].flatMap((name) => this.versions(name));
  }

  /** All versions that failed to load. */
  get failures(): Failure[] {
    return [...this.#models.values()].flatMap((versions) => [...versions.values()].flatMap((k) => k.failure ?? []));
  }

  /** Whether every model has a loaded version; with a folder there must be at least one model. */
  get ready(): boolean {
    return (
      (this.#folder === null || this.#models.size > 0) &&
      [...this.#models.keys()].every((name) => this.get(name) !== null)
    );
  }

  /** Loads new and changed versions and unloads removed ones. Concurrent calls share one scan. */
  scan(): Promise<void> {
    this.#scanning ??= this.#scan().finally(() => {
      this.#scanning = null;
    });
    return this.#scanning;
  }

  async #scan(): Promise<void> {
    if (this.#folder === null) return;
    const found = await this.#find(this.#folder);
    for (const { name, version, path } of found) {
      const file = await stat(path, { bigint: true }).catch(() => null);
      if (file === null) continue;
      const stamp = `${file.ino}:${file.size}:${file.mtimeNs}`;
      if (this.#models.get(name)?.get(version)?.stamp !== stamp) await this.#load(name, version, path, stamp);
    }
    const present = new Set(found.map((f) => `${f.name}/${f.version}`));
    for (const [name, versions] of this.#models) {
      for (const [version, { loaded }] of versions) {
        if (present.has(`${name}/${version}`)) continue;
        versions.delete(version);
        if (loaded !== null) this.#retire(loaded);
      }
      if (versions.size === 0) this.#models.delete(name);
    }
  }

  /** The model files in the folder; a single file at the top level is the model 'model', version 1. */
  async #find(folder: string): Promise<Found[]> {
    const list = (path: string) => readdir(path, { withFileTypes: true });
    const top = await list(folder).catch((cause: Error) => {
      throw new TapegradError(
        'serve',
        `cannot read the model repository ${folder}: ${cause.message}`,
        `pass a folder of name/version/${FILE}`,
        { cause },
      );
    });
    const folders = (entries: Dirent[], pattern: RegExp) =>
      entries.filter((e) => (e.isDirectory() || e.isSymbolicLink()) && pattern.test(e.name)).map((e) => e.name);
    const nested = await Promise.all(
      folders(top, NAME).map(async (name) => {
        const versions = folders(await list(join(folder, name)).catch(() => []), VERSION);
        return versions.map((version) => ({ name, version, path: join(folder, name, version, FILE) }));
      }),
    );
    const files = top.filter((e) => e.isFile() && e.name.endsWith('.safetensors'));
    const single = files.length === 1 ? [{ name: 'model', version: '1', path: join(folder, files[0].name) }] : [];
    const all = [...single, ...nested.flat()];
    return all.sort((a, b) => a.name.localeCompare(b.name) || Number(a.version) - Number(b.version));
  }

  async #load(name: string, version: string, path: string, stamp: string): Promise<void> {
    const versions = this.#models.get(name) ?? new Map<string, Known>();
    const before = versions.get(version)?.loaded ?? null;
    const started = performance.now();
    const id = ++this.#ids;
    try {
      const file = await readFile(path);
      const bytes = new SharedArrayBuffer(file.length);
      new Uint8Array(bytes).set(file);
      const info = await this.#pool.load(id, { name, version, bytes });
      const loaded = { id, name, version, info, loadedAt: new Date(), seconds: (performance.now() - started) / 1000 };
      versions.set(version, { stamp, loaded, failure: null });
      this.#models.set(name, versions);
      this.#events.onLoaded(loaded);
      if (before !== null) this.#retire(before);
    } catch (error) {
      const failure = { name, version, reason: (error as Error).message };
      versions.set(version, { stamp, loaded: before, failure });
      this.#models.set(name, versions);
      this.#events.onFailed(failure);
    }
  }

  #retire(version: Version): void {
    this.#events.onUnloaded(version);
    this.#pool.unload(version.id);
  }
}

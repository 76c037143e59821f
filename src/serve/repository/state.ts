import type { LoadedModel } from '../workers/messages.js';
import type { Ignored } from './find.js';

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

/** A version that is not loaded. */
export interface Failure {
  readonly name: string;
  readonly version: string;
  readonly reason: string;
}

export interface RepositoryEvents {
  readonly onLoaded: (version: Version) => void;
  readonly onUnloaded: (version: Version) => void;
  /** Called when a version is neither loaded nor in the folder any more, or its policy no longer allows it. */
  readonly onGone: (name: string, version: string) => void;
  readonly onFailed: (failure: Failure) => void;
  /** Called when something in the folder is ignored, or the folder cannot be listed, that was not before. */
  readonly onIgnored: (ignored: Ignored) => void;
}

export interface RepositoryOptions {
  /** The folder; null if models are only loaded by `add`. */
  readonly folder: string | null;
  readonly maxModel: number;
  readonly settle: number;
  readonly versions: Readonly<Record<string, number | readonly string[]>>;
  readonly strictReady: boolean;
}

/** What is known of one version. */
export interface Known {
  /** The state of the file when its load was last attempted. */
  stamp: string | null;
  loaded: Version | null;
  /** Why the last load failed. */
  failure: Failure | null;
  /** Why the file could not be looked at in the last scan. A version that is loaded stays. */
  unreadable: Failure | null;
  /** The state of the file in the last scan, and since when it has been the same. */
  seen: { stamp: string; since: number } | null;
  /** Since when the file has been gone; null while it is there. */
  goneSince: number | null;
  /** How often the load of this state has failed, and when it is tried again. */
  failures: number;
  retryAt: number;
}

export const fresh = (): Known => ({
  stamp: null,
  loaded: null,
  failure: null,
  unreadable: null,
  seen: null,
  goneSince: null,
  failures: 0,
  retryAt: 0,
});

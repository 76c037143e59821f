import type { Pool } from './pool.js';

// Apart from what makes it, whose types need the packages of a server.

/** A running server. */
export interface Server {
  /** Where requests go, such as http://127.0.0.1:8080. */
  readonly url: string;
  /** Metrics, status page, drift. */
  readonly adminUrl: string;
  /** The versions of models that answer. */
  readonly models: readonly { readonly name: string; readonly version: string }[];
  /** Looks into the model repository now instead of within a second. */
  scan(): Promise<void>;
  /** Takes no more requests, finishes those in flight, and ends. */
  close(): Promise<void>;
  /** @internal */
  readonly pool: Pool;
}

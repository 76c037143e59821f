import type { TlsOptions } from '../options.js';
import type { Pool } from '../workers/pool.js';
import type { Token } from './tokens.js';

// In a file of its own, so that these types do not depend on the optional packages of the server.

/** A running server, started by {@link serve}. */
export interface Server {
  /** The base URL of the inference port, such as http://127.0.0.1:8080. */
  readonly url: string;
  /** The base URL of the admin port: metrics, status page, drift. */
  readonly adminUrl: string;
  /** The loaded versions of models. */
  readonly models: readonly {
    /** The name of the model. */
    readonly name: string;
    /** Its version, an integer as text. */
    readonly version: string;
  }[];
  /** Scans the model repository now, without waiting for the next scan. Resolves when new versions are loaded. */
  scan(): Promise<void>;
  /**
   * Replaces the tokens, or the key and the certificates of TLS, for all requests and connections from now on. A server that
   * was started without tokens or without TLS cannot get them later.
   * @throws TapegradError for invalid ones; nothing is changed then
   */
  reload(access: { readonly tokens?: readonly Token[]; readonly tls?: TlsOptions }): void;
  /** Stops accepting requests, finishes those in progress within the grace period, and ends the server. */
  close(): Promise<void>;
  /** @internal */
  readonly pool: Pool;
}

import type { Feedback } from '../observe/feedback.js';
import type { Metrics } from '../observe/metrics.js';
import type { Resolved } from '../option-table.js';
import type { Repository } from '../repository/index.js';
import type { Pool } from '../workers/pool.js';

/** What the routes of both ports work with. */
export interface Services {
  readonly options: Resolved;
  readonly pool: Pool;
  readonly repository: Repository;
  readonly metrics: Metrics;
  readonly feedback: Feedback;
  /** The version of the installed package. */
  readonly version: string;
  /** Whether the server is shutting down. */
  readonly draining: () => boolean;
}

import type { Server as HttpsServer } from 'node:https';
import type { FastifyInstance } from 'fastify';
import { checkOptions, describe, fail } from '../../errors.js';
import type { Resolved } from '../option-table.js';
import type { Access } from './access.js';
import type { Server } from './running.js';
import { checkTls, secureOptions } from './tls.js';
import { checkTokens } from './tokens.js';

/** The method that replaces tokens and certificates of a running server: all are checked before any is used. */
export function reloader(options: Resolved, access: Access, apps: readonly FastifyInstance[]): Server['reload'] {
  const [{ log }] = apps;
  return (given) => {
    try {
      if (typeof given !== 'object' || given === null)
        fail('serve', `reload got ${describe(given)}`, 'pass { tokens?, tls? }');
      checkOptions('serve', given, ['tokens', 'tls']);
      const tokens = given.tokens === undefined ? undefined : checkTokens(given.tokens);
      const tls = given.tls === undefined ? undefined : checkTls(given.tls);
      if (tokens !== undefined && !access.required)
        fail('serve', 'the server was started without tokens', 'start it again with tokens');
      if (tls !== undefined && (options.tls === undefined || (tls.ca === undefined) !== (options.tls.ca === undefined)))
        fail('serve', 'the server was started with another kind of TLS', 'start it again');
      if (tokens !== undefined) access.replace(tokens);
      if (tls !== undefined)
        for (const app of apps) (app.server as unknown as HttpsServer).setSecureContext(secureOptions(tls));
      log.info({ action: 'reload', what: Object.keys(given), outcome: 'done' }, 'an administrative action');
    } catch (error) {
      log.error(
        { action: 'reload', reason: (error as Error).message, outcome: 'refused' },
        'nothing is reloaded; the previous tokens and certificates stay in use',
      );
      throw error;
    }
  };
}

import { createSecureContext } from 'node:tls';
import { checkOptions, describe, fail } from '../../errors.js';
import type { TlsOptions } from '../options.js';

// Certificates: how they are checked before a server uses them.

const pem = (value: unknown): value is string | Uint8Array => typeof value === 'string' || value instanceof Uint8Array;

/** The options of TLS in the form that Node takes. */
export const secureOptions = ({ key, cert, ca }: TlsOptions) => ({
  key: key as string,
  cert: cert as string,
  ...(ca === undefined ? {} : { ca: ca as string }),
});

/** Checks certificates. @throws TapegradError if a server could not use them */
export function checkTls(value: unknown): TlsOptions {
  if (typeof value !== 'object' || value === null)
    fail('serve', `tls is ${describe(value)}`, 'pass { key, cert, ca? }');
  checkOptions('serve', value, ['key', 'cert', 'ca']);
  const { key, cert, ca } = value as Record<string, unknown>;
  // The values are not shown: one is the private key.
  if (!pem(key) || !pem(cert) || !(ca === undefined || pem(ca)))
    fail('serve', 'tls.key, tls.cert or tls.ca is not text', 'pass them in PEM format');
  const tls = value as TlsOptions;
  try {
    createSecureContext(secureOptions(tls));
  } catch (cause) {
    const reason = (cause as Error).message.split('\n')[0];
    fail('serve', `the key and the certificates of TLS are not usable: ${reason}`, 'pass matching ones in PEM format', {
      cause,
    });
  }
  return tls;
}

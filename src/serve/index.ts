export type { ServeOptions, TlsOptions } from './options.js';
export type { Batching } from './pool.js';
export { type Server, serve } from './server.js';
export { readTokens, type Token } from './tokens.js';

export type { ServeOptions, TlsOptions } from './options.js';
export type { Batching } from './pool.js';
export { deploySageMaker, type SageMakerOptions, type SageMakerRequests, sageMakerRequests } from './sagemaker.js';
export { type Server, serve } from './server.js';
export { readTokens, type Token } from './tokens.js';

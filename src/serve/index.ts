/**
 * A server for models over HTTP, and deployment to Amazon SageMaker.
 *
 * @module
 */

export type { ServeOptions, TlsOptions } from './options.js';
export type { Batching } from './queue.js';
export type { Server } from './running.js';
export {
  type CreateEndpointConfigRequest,
  type CreateEndpointRequest,
  type CreateModelRequest,
  deploySageMaker,
  type SageMakerOptions,
  type SageMakerRequests,
  sageMakerRequests,
} from './sagemaker.js';
export { serve } from './serve.js';
export { readTokens, type Token } from './tokens.js';

/**
 * A server for models over HTTP, and deployment to Amazon SageMaker.
 *
 * @module
 */

export {
  type CreateEndpointConfigRequest,
  type CreateEndpointRequest,
  type CreateModelRequest,
  deploySageMaker,
  type SageMakerOptions,
  type SageMakerRequests,
  sageMakerRequests,
} from '../deploy/sagemaker.js';
export type { Server } from './http/running.js';
export { readTokens, type Token } from './http/tokens.js';
export type { ServeOptions, TlsOptions } from './options.js';
export { serve } from './serve.js';
export type { Batching } from './workers/queue.js';

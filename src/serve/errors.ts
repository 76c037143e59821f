/** An error that is reported to the client with a status and {"error": message}. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  constructor(
    readonly statusCode: number,
    message: string,
    /** Seconds until a retry makes sense, for the header Retry-After. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Rejects a request with the problem and its remedy. */
export function refuse(problem: string, remedy: string, statusCode = 400): never {
  throw new RequestError(statusCode, `${problem}; ${remedy}`);
}

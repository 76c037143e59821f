/** Something that a client did wrong, or that it shall try again: becomes a status and {"error": message}. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  constructor(
    readonly statusCode: number,
    message: string,
    /** Seconds after which trying again makes sense. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }
}

/** Refuses a request: what is wrong with it, and what to do. */
export function refuse(problem: string, remedy: string, statusCode = 400): never {
  throw new RequestError(statusCode, `${problem}; ${remedy}`);
}

// What webpack reads in place of gpu.ts: see webpack.ts.

export const load = (absent: (reason: Error) => never): Promise<unknown> =>
  // @ts-expect-error: only webpack knows such a path.
  import('!!./webpack.js?gpu.js!./absent.js').catch(absent);

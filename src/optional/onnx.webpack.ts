// What webpack reads in place of onnx.ts: see webpack.ts.

export const load = (absent: (reason: Error) => never): Promise<unknown> =>
  // @ts-expect-error: only webpack knows such a path.
  import('!!./webpack.js?onnx-proto!./absent.js').catch(absent);

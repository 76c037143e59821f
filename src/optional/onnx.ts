// A package that need not be installed, in a module of its own: see webpack.ts.

/** @param absent is told why it does not load; esbuild warns of a missing package unless a catch() follows at once */
export const load = (absent: (reason: Error) => never) => import('onnx-proto').catch(absent);

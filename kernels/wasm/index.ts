// The WebAssembly kernels of the `cpu` backend. They see addresses and loop bounds, nothing else: every pointer is a
// byte address in the imported memory, every size counts float32 elements.
export * from './elementwise';
export * from './reduce';
export * from './softmax';
export * from './loss';
export * from './gemm';
export * from './gemm-small';
export * from './indexing';
export * from './layout';
export * from './optim';
export * from './finite';
export * from './scan';

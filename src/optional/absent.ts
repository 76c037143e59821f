// What the loader in webpack.ts replaces by an optional package.
export {};

// A loader for webpack, which warns of every import that it does not find; no comment tells it that a package is optional.
// So webpack reads gpu.webpack.ts instead of gpu.ts, by the condition "webpack" under "imports" in package.json. It imports
// through this loader, which answers with the package where it is installed, or else with a module that says it is not.

interface LoaderContext {
  readonly query: string;
  readonly context: string;
  async(): (error: null, source: string) => void;
  /** webpack remembers where it looked, so that a cache or a watch notices when the package is installed. */
  getResolve(): (context: string, request: string, callback: (error: Error | null) => void) => void;
}

export default function load(this: LoaderContext): void {
  const name = this.query.slice(1);
  const done = this.async();
  this.getResolve()(this.context, name, (missing) => {
    const present = `export * from '${name}'; export { default } from '${name}';`;
    // import() rejects where a module has a `then` that does. A module that throws does so only for who comes first.
    const absent = `export const then = (_, reject) => reject(new Error("Cannot find package '${name}'"));`;
    done(null, missing ? absent : present);
  });
}

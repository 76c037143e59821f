import { data, noGrad, type Tensor, tensor } from '../index.js';
import { loadModelFile, type ModelFile } from '../io/index.js';
import type { LoadedModel } from './messages.js';
import { checkValues, type Signature } from './protocol.js';

/** A model that answers: its preparation and its layers. */
export class Runtime {
  readonly signature: Signature;
  readonly info: LoadedModel;
  readonly #file: ModelFile;

  private constructor(name: string, version: string, file: ModelFile) {
    this.#file = file;
    const { inputFeatures, preprocessors, labels, baseline } = file;
    this.signature = { name, version, inputFeatures, allowsMissing: preprocessors.some((p) => p instanceof data.Imputer) };
    // The first answer is computed before anybody waits for it, and must be made of numbers.
    const features = inputFeatures ?? 1;
    const outputs = this.predict(new Float32Array(features), 1, features);
    const bad = outputs.find((v) => !Number.isFinite(v));
    if (bad !== undefined) throw new Error(`it answers ${bad} to zeros`);
    this.info = { inputFeatures, outputFeatures: outputs.length, labels, baseline };
  }

  /** Reads a model file, and computes a first answer. @throws TapegradError for a file that is no model */
  static async load(name: string, version: string, bytes: Uint8Array): Promise<Runtime> {
    return new Runtime(name, version, await loadModelFile(bytes));
  }

  /**
   * Outputs [rows, outputs] of inputs [rows, features].
   * @throws RequestError where inputs that are not `checked` are not finite
   */
  predict(values: Float32Array, rows: number, features: number, checked = true): Float32Array {
    const { model, preprocessors } = this.#file;
    return noGrad(() => {
      const steps = [tensor(values, { shape: [rows, features] })];
      try {
        if (!checked && !hasFiniteSum(steps[0])) checkValues(values, features, this.signature);
        for (const p of preprocessors) steps.push(p.transform(steps.at(-1)!));
        steps.push(model.forward(steps.at(-1)!));
        return steps.at(-1)!.dataSync();
      } finally {
        // What is given back at once is never copied aside for the garbage collector.
        for (const t of steps) t.dispose();
      }
    });
  }
}

/** False where a number is not finite, and where finite ones overflow: vectors sum faster than JavaScript compares. */
function hasFiniteSum(x: Tensor): boolean {
  const sum = x.sum();
  try {
    return Number.isFinite(sum.itemSync());
  } finally {
    sum.dispose();
  }
}

import { data, noGrad, type Tensor, tensor } from '../../index.js';
import { loadModelFile, type ModelFile } from '../../io/index.js';
import { checkValues, type Signature } from '../protocol/open-inference.js';
import type { LoadedModel } from './messages.js';

/** A model in a worker, with its preprocessors. */
export class Runtime {
  readonly signature: Signature;
  readonly info: LoadedModel;
  readonly #file: ModelFile;

  private constructor(name: string, version: string, file: ModelFile) {
    this.#file = file;
    const { inputFeatures, preprocessors, labels, baseline } = file;
    this.signature = {
      name,
      version,
      inputFeatures,
      allowsMissing: preprocessors.some((p) => p instanceof data.Imputer),
    };
    // A first prediction warms up the model, and must be finite.
    const features = inputFeatures ?? 1;
    const outputs = this.predict(new Float32Array(features), 1, features);
    const bad = outputs.find((v) => !Number.isFinite(v));
    if (bad !== undefined) throw new Error(`it predicts ${bad} for zeros`);
    this.info = { inputFeatures, outputFeatures: outputs.length, labels, baseline };
  }

  /** Loads a model file, and computes a first prediction. @throws TapegradError for a file that is not a model */
  static async load(name: string, version: string, bytes: Uint8Array): Promise<Runtime> {
    return new Runtime(name, version, await loadModelFile(bytes));
  }

  /**
   * Computes outputs [rows, outputs] from inputs [rows, features].
   * @throws RequestError for inputs that are not finite, unless they are `checked`
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
        // Disposed at once, so that the memory is reused without the garbage collector.
        for (const t of steps) t.dispose();
      }
    });
  }
}

/** False if a number is not finite, or the sum overflows. The SIMD sum is faster than a comparison in JavaScript. */
function hasFiniteSum(x: Tensor): boolean {
  const sum = x.sum();
  try {
    return Number.isFinite(sum.itemSync());
  } finally {
    sum.dispose();
  }
}

import { data, noGrad, type Tensor, tensor } from '../../index.js';
import { loadModelFile, type ModelFile } from '../../io/index.js';
import { matrixSpec, type Signature, type TensorValues } from '../protocol/tensors.js';
import { allFinite, checkValues } from '../protocol/values.js';
import type { LoadedModel } from './messages.js';

/** Up to this size a loop in JavaScript is faster than a tensor operation. */
const SMALL = 4096;

/** A model in a worker, with its preprocessors. */
export class Runtime {
  readonly signature: Signature;
  readonly info: LoadedModel;
  readonly #file: ModelFile;

  private constructor(name: string, version: string, file: ModelFile) {
    this.#file = file;
    const { inputFeatures, preprocessors, labels, baseline } = file;
    // A first prediction warms up the model, and must be finite.
    const features = inputFeatures ?? 1;
    const [{ values }] = this.predict([{ values: new Float32Array(features), shape: [1, features] }]);
    const bad = values.find((v) => !Number.isFinite(v));
    if (bad !== undefined) throw new Error(`it predicts ${bad} for zeros`);
    const inputs = [matrixSpec('input', inputFeatures)];
    const outputs = [matrixSpec('output', inputFeatures === null ? file.outputFeatures : values.length)];
    this.signature = {
      name,
      version,
      inputs,
      outputs,
      allowsMissing: preprocessors.some((p) => p instanceof data.Imputer),
    };
    this.info = { inputs, outputs, outputFeatures: values.length, labels, baseline };
  }

  /** Loads a model file, and computes a first prediction. @throws TapegradError for a file that is not a model */
  static async load(name: string, version: string, bytes: Uint8Array): Promise<Runtime> {
    return new Runtime(name, version, await loadModelFile(bytes));
  }

  /**
   * Computes the outputs from the inputs, in the order of the signature.
   * @throws RequestError for inputs that are not finite, unless they are `checked`
   */
  predict(inputs: readonly TensorValues[], checked = true): TensorValues[] {
    const { model, preprocessors } = this.#file;
    const [{ values, shape }] = inputs;
    return noGrad(() => {
      const steps = [tensor(values, { shape })];
      try {
        const finite = checked || (values.length <= SMALL ? allFinite(values) : hasFiniteSum(steps[0]));
        if (!finite) checkValues(values, shape[1], this.signature);
        for (const p of preprocessors) steps.push(p.transform(steps.at(-1)!));
        steps.push(model.forward(steps.at(-1)!));
        const result = steps.at(-1)!;
        return [{ values: result.dataSync(), shape: result.shape }];
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

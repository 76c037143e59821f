import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { show, TapegradError } from '../errors.js';
import { fromSafetensors, load, loadModelFile } from '../io/index.js';
import { printable } from '../serve/repository/text.js';

/** tapegrad inspect FILE: shows the contents of a file of tensors. */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description('Show the tensors in a .safetensors or PyTorch .pth file, and the other contents of a model file.')
    .argument('<file>')
    .option('--json', 'as JSON')
    .action(async (file: string, { json }: { json?: boolean }) => {
      const tensors = Object.entries(await load(file)).map(([name, t]) => ({ name, shape: [...t.shape] }));
      const model = await modelOf(file);
      const numbers = tensors.reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0);
      if (json) return console.log(JSON.stringify({ tensors, numbers, model }, null, 2));
      for (const { name, shape } of tensors) console.log(`${printable(name)}  ${show(shape)}`);
      console.log(`${tensors.length} tensors, ${numbers} numbers`);
      if (model === null) return;
      console.log(
        `a model of ${model.inputFeatures ?? 'any number of'} features and ${model.outputFeatures ?? 'as many'} outputs`,
      );
      console.log(
        `preprocessors: ${model.preprocessors.map((type) => printable(String(type))).join(', ') || 'none'}; labels: ${model.labels.map((label) => printable(label)).join(', ') || 'none'}`,
      );
      console.log(`baseline: ${model.baselineRows === null ? 'none' : `${model.baselineRows} rows`}`);
    });
}

async function modelOf(file: string) {
  const bytes = await readFile(file);
  const metadata = metadataOf(bytes);
  if (metadata === undefined) return null;
  const { inputFeatures, outputFeatures, labels, baseline } = await loadModelFile(bytes);
  // Files of versions 1 and 2 have the key 'preparation'.
  const { preparation = [], preprocessors = preparation } = JSON.parse(metadata) as Record<
    'preparation' | 'preprocessors',
    { type: string }[] | undefined
  >;
  return {
    inputFeatures,
    outputFeatures,
    labels,
    preprocessors: preprocessors.map((p) => p.type),
    baselineRows: baseline?.rows ?? null,
  };
}

/** The metadata that saveModel wrote; undefined in other files. */
function metadataOf(bytes: Uint8Array): string | undefined {
  try {
    return fromSafetensors(bytes).metadata.tapegrad;
  } catch (error) {
    if (error instanceof TapegradError) return undefined;
    throw error;
  }
}

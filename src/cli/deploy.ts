import { Command } from 'commander';

/** tapegrad deploy sagemaker: a model file behind an endpoint of Amazon SageMaker. */
export function deployCommand(): Command {
  return new Command('deploy').description('Deploy a model.');
}

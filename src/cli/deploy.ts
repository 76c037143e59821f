import { Command } from 'commander';
import { deploySageMaker, type SageMakerOptions, sageMakerRequests } from '../serve/index.js';
import { integer } from './values.js';

/** tapegrad deploy sagemaker: deploys a model file to an endpoint of Amazon SageMaker. */
export function deployCommand(): Command {
  const sagemaker = new Command('sagemaker')
    .description(
      'Create a model, an endpoint configuration and an endpoint, wait until it is in service, and send it one request.',
    )
    .requiredOption('--name <endpoint>', "the endpoint's name")
    .requiredOption('--model <file>', 'a model file, uploaded to --bucket, or an s3:// address')
    .option('--bucket <bucket>', 'the S3 bucket for a model file')
    .requiredOption('--image <uri>', 'the container image in ECR')
    .requiredOption('--role <arn>', 'the role that the endpoint runs as')
    .requiredOption('--instance-type <type>', 'such as ml.c7i.large')
    .option('--instance-count <n>', 'default 1', integer)
    .option('--region <region>')
    .option('--timeout <seconds>', 'limit until it is in service; default 1800', integer)
    .option('--poll-interval <seconds>', 'between status checks; default 15', integer)
    .option('--dry-run', 'print the three requests and send nothing')
    .action(async ({ dryRun, ...options }: SageMakerOptions & { dryRun?: boolean }) => {
      if (dryRun) {
        const { createModel, createEndpointConfig, createEndpoint } = sageMakerRequests(options);
        console.log(JSON.stringify({ createModel, createEndpointConfig, createEndpoint }, null, 2));
        return;
      }
      const { answer } = await deploySageMaker({ ...options, log: (line) => console.log(line) });
      if (answer !== null) console.log(`response: ${answer}`);
    });
  return new Command('deploy').description('Deploy a model.').addCommand(sagemaker);
}

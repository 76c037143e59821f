import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { CreateEndpointConfigCommandInput } from '@aws-sdk/client-sagemaker';
import { checkInteger, checkOptions, describe, fail } from '../errors.js';
import { loadModelFile } from '../io/index.js';

// A model behind an endpoint of Amazon SageMaker: CreateModel, CreateEndpointConfig, CreateEndpoint
// (https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-deployment.html). Credentials, region and other
// addresses come from the environment, as for every AWS SDK.

export interface SageMakerOptions {
  /** The endpoint's name; the model and the configuration get it with a time behind it. */
  name: string;
  /** A model file that is uploaded to `bucket`, or an s3:// address of one that is there. */
  model: string;
  /** For a model file. */
  bucket?: string;
  /** The container image in ECR; docs/deploy has its Dockerfile. */
  image: string;
  /** The ARN of the role that the endpoint runs as. */
  role: string;
  /** Such as ml.c7i.large. */
  instanceType: string;
  /** Default 1. */
  instanceCount?: number;
  region?: string;
  /** Seconds until the endpoint must be in service. Default 1800. */
  timeout?: number;
  /** Seconds between questions whether it is. Default 15. */
  pollInterval?: number;
  /** Told what happens. */
  log?: (line: string) => void;
}

/** The three requests of a deployment; written out, as the AWS SDK and its types are optional. */
export interface SageMakerRequests {
  readonly createModel: {
    ModelName: string;
    ExecutionRoleArn: string;
    PrimaryContainer: {
      Image: string;
      ModelDataSource: { S3DataSource: { S3Uri: string; S3DataType: 'S3Object'; CompressionType: 'None' } };
    };
  };
  readonly createEndpointConfig: {
    EndpointConfigName: string;
    ProductionVariants: {
      VariantName: string;
      ModelName: string;
      InstanceType: string;
      InitialInstanceCount: number;
      InitialVariantWeight: number;
    }[];
  };
  readonly createEndpoint: { EndpointName: string; EndpointConfigName: string };
}

const OP = 'deploySageMaker';
const KNOWN = [
  'name',
  'model',
  'bucket',
  'image',
  'role',
  'instanceType',
  'instanceCount',
  'region',
  'timeout',
  'pollInterval',
  'log',
];
/** What SageMaker allows in names, with room for the time. */
const NAME = /^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,46}$/;

/** @throws TapegradError for what SageMaker would refuse anyway */
export function sageMakerRequests(
  options: SageMakerOptions,
  now = new Date(),
): SageMakerRequests & { readonly s3Uri: string } {
  checkOptions(OP, options, KNOWN);
  const { name, model, bucket, image, role, instanceType, instanceCount = 1 } = options;
  const requireText = (what: keyof SageMakerOptions, pattern: RegExp, remedy: string): void => {
    const value = options[what];
    if (typeof value !== 'string' || !pattern.test(value)) fail(OP, `${what} is ${describe(value)}`, remedy);
  };
  requireText('name', NAME, 'pass up to 47 letters, digits and single hyphens');
  requireText('model', /./, 'pass a model file, or an s3:// address');
  requireText(
    'image',
    /./,
    'pass the image in ECR, such as 123456789012.dkr.ecr.eu-central-1.amazonaws.com/tapegrad:1',
  );
  requireText('role', /^arn:/, 'pass the ARN of a role, such as arn:aws:iam::123456789012:role/SageMaker');
  requireText('instanceType', /^ml\./, 'pass one such as ml.c7i.large');
  checkInteger(OP, 'instanceCount', instanceCount);
  const remote = model.startsWith('s3://');
  if (!remote && (typeof bucket !== 'string' || bucket === ''))
    fail(OP, 'a model file without a bucket', 'pass the S3 bucket that it is uploaded to');
  const stamp = now.toISOString().replace(/\D/g, '').slice(0, 14);
  const unique = `${name}-${stamp}`;
  const s3Uri = remote ? model : `s3://${bucket}/${unique}/${basename(model)}`;
  return {
    s3Uri,
    createModel: {
      ModelName: unique,
      ExecutionRoleArn: role,
      PrimaryContainer: {
        Image: image,
        ModelDataSource: { S3DataSource: { S3Uri: s3Uri, S3DataType: 'S3Object', CompressionType: 'None' } },
      },
    },
    createEndpointConfig: {
      EndpointConfigName: unique,
      ProductionVariants: [
        {
          VariantName: 'AllTraffic',
          ModelName: unique,
          InstanceType: instanceType,
          InitialInstanceCount: instanceCount,
          InitialVariantWeight: 1,
        },
      ],
    },
    createEndpoint: { EndpointName: name, EndpointConfigName: unique },
  };
}

/** The SDK. @throws TapegradError saying what to install */
async function sdk() {
  try {
    const [sagemaker, runtime, s3] = await Promise.all([
      import('@aws-sdk/client-sagemaker'),
      import('@aws-sdk/client-sagemaker-runtime'),
      import('@aws-sdk/client-s3'),
    ]);
    return { sagemaker, runtime, s3 };
  } catch (cause) {
    return fail(
      OP,
      'the AWS SDK does not load',
      'run npm install @aws-sdk/client-sagemaker @aws-sdk/client-sagemaker-runtime @aws-sdk/client-s3',
      { cause },
    );
  }
}

/**
 * Uploads a model if it is a file, makes a model, a configuration and an endpoint, waits until it is in service, and asks
 * it once (where the model is a file, whose number of features is known). If a step fails, what was made is removed again.
 *
 * @returns what the endpoint answered to a sample of zeros; null where it was not asked
 * @throws TapegradError for options that make no sense; what AWS says about requests that it refuses
 */
export async function deploySageMaker(
  options: SageMakerOptions,
): Promise<{ requests: SageMakerRequests; answer: string | null }> {
  const { s3Uri, ...requests } = sageMakerRequests(options);
  const { model, region, timeout = 1800, pollInterval = 15, log = () => {} } = options;
  const file = model.startsWith('s3://')
    ? null
    : { features: (await loadModelFile(model)).inputFeatures ?? 1, bytes: await readFile(model) };
  const { sagemaker, runtime, s3 } = await sdk();
  const config = region === undefined ? {} : { region };
  const client = new sagemaker.SageMakerClient(config);
  // Other servers than Amazon's rarely have a host name for each bucket.
  const elsewhere = (process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL) !== undefined;
  const storage = new s3.S3Client({ ...config, forcePathStyle: elsewhere });
  const undo: [what: string, run: () => Promise<unknown>][] = [];
  try {
    if (file !== null) {
      const { hostname: Bucket, pathname } = new URL(s3Uri);
      const Key = pathname.slice(1);
      await storage.send(new s3.PutObjectCommand({ Bucket, Key, Body: file.bytes }));
      undo.push([s3Uri, () => storage.send(new s3.DeleteObjectCommand({ Bucket, Key }))]);
      log(`uploaded ${s3Uri}`);
    }
    const { ModelName } = requests.createModel;
    await client.send(new sagemaker.CreateModelCommand(requests.createModel));
    undo.push([`model ${ModelName}`, () => client.send(new sagemaker.DeleteModelCommand({ ModelName }))]);
    log(`made model ${ModelName}`);
    const { EndpointConfigName } = requests.createEndpointConfig;
    // The SDK has a union of the types of machines that there were when it was made.
    const input = requests.createEndpointConfig as CreateEndpointConfigCommandInput;
    await client.send(new sagemaker.CreateEndpointConfigCommand(input));
    undo.push([
      `configuration ${EndpointConfigName}`,
      () => client.send(new sagemaker.DeleteEndpointConfigCommand({ EndpointConfigName })),
    ]);
    log(`made configuration ${EndpointConfigName}`);
    const { EndpointName } = requests.createEndpoint;
    await client.send(new sagemaker.CreateEndpointCommand(requests.createEndpoint));
    undo.push([`endpoint ${EndpointName}`, () => client.send(new sagemaker.DeleteEndpointCommand({ EndpointName }))]);
    log(`made endpoint ${EndpointName}; waiting until it is in service`);
    await sagemaker.waitUntilEndpointInService(
      { client, maxWaitTime: timeout, minDelay: pollInterval, maxDelay: pollInterval },
      { EndpointName },
    );
    log(`endpoint ${EndpointName} is in service`);
    if (file === null) return { requests, answer: null };
    const invocation = new runtime.InvokeEndpointCommand({
      EndpointName,
      ContentType: 'application/json',
      Accept: 'application/json',
      Body: JSON.stringify({ instances: [new Array<number>(file.features).fill(0)] }),
    });
    const { Body } = await new runtime.SageMakerRuntimeClient(config).send(invocation);
    return { requests, answer: new TextDecoder().decode(Body) };
  } catch (error) {
    for (const [what, run] of undo.reverse()) {
      await run().then(
        () => log(`removed ${what}`),
        (problem: Error) => log(`could not remove ${what}: ${problem.message}`),
      );
    }
    throw error;
  }
}

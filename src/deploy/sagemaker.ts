import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import type { CreateEndpointConfigCommandInput } from '@aws-sdk/client-sagemaker';
import { checkInteger, checkOptions, describe, fail } from '../errors.js';
import { loadModelFile } from '../io/index.js';

// Deployment of a model to an endpoint of Amazon SageMaker: CreateModel, CreateEndpointConfig, CreateEndpoint
// (https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-deployment.html). Credentials, region and other
// endpoint URLs come from the environment, as in every AWS SDK.

/** Options of {@link deploySageMaker} and {@link sageMakerRequests}. */
export interface SageMakerOptions {
  /** The name of the endpoint; the names of the model and the configuration are this name with a timestamp. */
  name: string;
  /** The path of a model file, which is uploaded to `bucket`, or the s3:// URI of a model file. */
  model: string;
  /** The S3 bucket for a model file; not needed for an s3:// URI. */
  bucket?: string;
  /** The URI of the container image in ECR; its Dockerfile is in docs/deploy. */
  image: string;
  /** The ARN of the execution role of the endpoint. */
  role: string;
  /** The instance type, such as ml.c7i.large. */
  instanceType: string;
  /** The number of instances. Default 1. */
  instanceCount?: number;
  /** The AWS region. Default: that of the environment. */
  region?: string;
  /** The time limit until the endpoint is in service, in seconds. Default 1800. */
  timeout?: number;
  /** Seconds between checks of the endpoint's status. Default 15. */
  pollInterval?: number;
  /** Called with a line of text for each step. */
  log?: (line: string) => void;
}

/** Input of CreateModel; the fields are those of the AWS SDK, whose types are optional. */
export interface CreateModelRequest {
  /** The name of the model. */
  ModelName: string;
  /** The ARN of the execution role. */
  ExecutionRoleArn: string;
  /** Container image and model data. */
  PrimaryContainer: {
    /** The URI of the container image in ECR. */
    Image: string;
    /** The location of the model data. */
    ModelDataSource: {
      /** An object in S3. */
      S3DataSource: {
        /** The URI of the model file. */
        S3Uri: string;
        /** The URI is that of a single object. */
        S3DataType: 'S3Object';
        /** The file is not compressed. */
        CompressionType: 'None';
      };
    };
  };
}

/** Input of CreateEndpointConfig; the fields are those of the AWS SDK, whose types are optional. */
export interface CreateEndpointConfigRequest {
  /** The name of the configuration. */
  EndpointConfigName: string;
  /** The model and its instances: one variant that receives all traffic. */
  ProductionVariants: {
    /** The name of the variant. */
    VariantName: string;
    /** The name of the model. */
    ModelName: string;
    /** The instance type. */
    InstanceType: string;
    /** The number of instances. */
    InitialInstanceCount: number;
    /** The weight of the variant in the distribution of traffic. */
    InitialVariantWeight: number;
  }[];
}

/** Input of CreateEndpoint; the fields are those of the AWS SDK, whose types are optional. */
export interface CreateEndpointRequest {
  /** The name of the endpoint. */
  EndpointName: string;
  /** The name of its configuration. */
  EndpointConfigName: string;
}

/** The three requests of a deployment. */
export interface SageMakerRequests {
  /** Input of [CreateModel](https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html). */
  readonly createModel: CreateModelRequest;
  /** Input of [CreateEndpointConfig](https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpointConfig.html). */
  readonly createEndpointConfig: CreateEndpointConfigRequest;
  /** Input of [CreateEndpoint](https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html). */
  readonly createEndpoint: CreateEndpointRequest;
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
/** Names that SageMaker allows, with space for the timestamp. */
const NAME = /^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,46}$/;

/**
 * The requests that {@link deploySageMaker} sends, without sending them.
 *
 * @param options model, image, role and instances
 * @param now the time for the timestamp in names
 * @returns the three requests, and the location of the model file
 * @throws TapegradError for options that SageMaker would reject
 * @example
 * ```ts
 * import { sageMakerRequests } from 'tapegrad/serve';
 *
 * const { createEndpoint } = sageMakerRequests({
 *   name: 'digits',
 *   model: 's3://bucket/model.safetensors',
 *   image: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/tapegrad:1',
 *   role: 'arn:aws:iam::123456789012:role/SageMaker',
 *   instanceType: 'ml.c7i.large',
 * });
 * console.log(createEndpoint.EndpointName); // 'digits'
 * ```
 */
export function sageMakerRequests(
  options: SageMakerOptions,
  now = new Date(),
): SageMakerRequests & {
  /** The location of the model file in S3. */
  readonly s3Uri: string;
} {
  checkOptions(OP, options, KNOWN);
  const { name, model, bucket, image, role, instanceType, instanceCount = 1 } = options;
  const requireText = (what: keyof SageMakerOptions, pattern: RegExp, remedy: string): void => {
    const value = options[what];
    if (typeof value !== 'string' || !pattern.test(value)) fail(OP, `${what} is ${describe(value)}`, remedy);
  };
  requireText('name', NAME, 'pass up to 47 letters, digits and single hyphens');
  requireText('model', /./, 'pass the path of a model file, or an s3:// URI');
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
    fail(OP, 'there is no bucket for the model file', 'pass the S3 bucket to upload it to');
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

/** Imports the AWS SDK. @throws TapegradError naming the packages to install */
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
 * Deploys a model to an endpoint of
 * [Amazon SageMaker](https://docs.aws.amazon.com/sagemaker/latest/dg/realtime-endpoints-deployment.html): uploads a model file,
 * creates a model, a configuration and an endpoint, waits until the endpoint is in service, and sends it one request (if the
 * model is a file, whose number of features is known). If a step fails, everything created is deleted. Needs the optional
 * packages @aws-sdk/client-sagemaker, @aws-sdk/client-sagemaker-runtime and @aws-sdk/client-s3.
 *
 * @param options model, image, role and instances
 * @returns the requests, and the response of the endpoint
 * @throws TapegradError for invalid options, a file that is not a model and missing packages
 * @throws the error of the AWS SDK for a rejected request
 * @example
 * ```ts
 * import { deploySageMaker } from 'tapegrad/serve';
 *
 * const deploy = () =>
 *   deploySageMaker({
 *     name: 'digits',
 *     model: 'models/digits/1/model.safetensors',
 *     bucket: 'my-models',
 *     image: '123456789012.dkr.ecr.eu-central-1.amazonaws.com/tapegrad:1',
 *     role: 'arn:aws:iam::123456789012:role/SageMaker',
 *     instanceType: 'ml.c7i.large',
 *   });
 * ```
 */
export async function deploySageMaker(options: SageMakerOptions): Promise<{
  /** The requests that created the endpoint. */
  requests: SageMakerRequests;
  /** The response of the endpoint to a sample of zeros; null if no request was sent. */
  answer: string | null;
}> {
  const { s3Uri, ...requests } = sageMakerRequests(options);
  const { model, region, timeout = 1800, pollInterval = 15, log = () => {} } = options;
  const file = model.startsWith('s3://')
    ? null
    : { features: (await loadModelFile(model)).inputFeatures ?? 1, bytes: await readFile(model) };
  const { sagemaker, runtime, s3 } = await sdk();
  const config = region === undefined ? {} : { region };
  const client = new sagemaker.SageMakerClient(config);
  // Other S3 implementations rarely have a host name for each bucket.
  const customEndpoint = (process.env.AWS_ENDPOINT_URL_S3 ?? process.env.AWS_ENDPOINT_URL) !== undefined;
  const storage = new s3.S3Client({ ...config, forcePathStyle: customEndpoint });
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
    log(`created model ${ModelName}`);
    const { EndpointConfigName } = requests.createEndpointConfig;
    // The SDK types instance types as a union of those that existed at its release.
    const input = requests.createEndpointConfig as CreateEndpointConfigCommandInput;
    await client.send(new sagemaker.CreateEndpointConfigCommand(input));
    undo.push([
      `configuration ${EndpointConfigName}`,
      () => client.send(new sagemaker.DeleteEndpointConfigCommand({ EndpointConfigName })),
    ]);
    log(`created configuration ${EndpointConfigName}`);
    const { EndpointName } = requests.createEndpoint;
    await client.send(new sagemaker.CreateEndpointCommand(requests.createEndpoint));
    undo.push([`endpoint ${EndpointName}`, () => client.send(new sagemaker.DeleteEndpointCommand({ EndpointName }))]);
    log(`created endpoint ${EndpointName}; waiting until it is in service`);
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

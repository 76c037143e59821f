import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { CreateBucketCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { DescribeEndpointCommand, ListModelsCommand, SageMakerClient } from '@aws-sdk/client-sagemaker';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { InferenceClient } from '../../src/client/index.js';
import { loadModel, saveModel } from '../../src/io/index.js';
import { deploySageMaker } from '../../src/serve/index.js';
import { folder, post, predict, smallModel, withProgram } from './helpers.js';

// The command as people run it, in processes of its own; `npm test` builds it first.

const CLI = 'dist/cli/index.js';
const { model, inputs } = smallModel();
const rows = (inputs.toArraySync() as number[][]).slice(0, 2);

interface Ended {
  code: number;
  stdout: string;
  stderr: string;
}
const run = async (args: string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> =>
  promisify(execFile)(process.execPath, [CLI, ...args], { env: { ...process.env, ...env } }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (e: Ended) => ({ code: e.code, stdout: e.stdout, stderr: e.stderr }),
  );

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});
/** Starts a program and waits for a line that matches. */
function launch(
  command: string,
  args: string[],
  line: RegExp,
  env: NodeJS.ProcessEnv = {},
): Promise<{ child: ChildProcess; match: RegExpMatchArray }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...process.env, ...env } });
    children.push(child);
    let said = '';
    const hear = (d: Buffer) => {
      said += d.toString();
      const match = said.match(line);
      if (match) resolve({ child, match });
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('exit', (code) => reject(new Error(`it ended with ${code}: ${said}`)));
  });
}
const serve = (args: string[], env: NodeJS.ProcessEnv = {}) =>
  launch(process.execPath, [CLI, 'serve', '--admin-port', '0', ...args], /at (http:\/\/[\d.]+:\d+)\n/, env);
const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.on('exit', resolve));
const freePort = () =>
  new Promise<number>((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

describe('the command', () => {
  it.each<[string[], string]>([
    [['bogus'], "tapegrad: unknown command 'bogus'; see tapegrad --help\n"],
    [['serve', '--prot', '1'], "tapegrad: unknown option '--prot'; see tapegrad --help\n"],
    [
      ['serve', '--port', 'x', '--models', '.'],
      "tapegrad: option '--port <n>' argument 'x' is invalid. it is not an integer; see tapegrad --help\n",
    ],
    [['inspect'], "tapegrad: missing required argument 'file'; see tapegrad --help\n"],
    [['serve', '--models', '/nowhere'], '[serve] cannot read the model repository /nowhere: ENOENT'],
    [
      ['deploy', 'sagemaker', '--name', 'x'],
      "tapegrad: required option '--model <file>' not specified; see tapegrad --help\n",
    ],
  ])('answers %j with one line and status 2', async (args, line) => {
    const { code, stderr, stdout } = await run(args);
    expect(stderr).toContain(line);
    expect(stderr.trim().split('\n').length).toBe(1);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  });
  it('has --version, and --help everywhere', async () => {
    expect(await run(['--version'])).toMatchObject({ code: 0, stdout: '0.1.0\n' });
    for (const args of [[], ['serve'], ['inspect'], ['deploy'], ['deploy', 'sagemaker']])
      expect(await run([...args, '--help'])).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('Usage: tapegrad'),
      });
  });
  it('inspects a file', async () => {
    const path = join(folder(), 'm.safetensors');
    await saveModel(model, path, { labels: ['a', 'b', 'c'] });
    expect((await run(['inspect', path])).stdout).toMatch(
      /0\.weight {2}\[16, 5\][\s\S]*a model of 5 features and 3 outputs[\s\S]*labels: a, b, c/,
    );
    expect(JSON.parse((await run(['inspect', '--json', path])).stdout)).toMatchObject({
      numbers: 147,
      model: { inputFeatures: 5 },
    });
    expect((await run(['inspect', '/nowhere'])).code).toBe(1);
  });
});

describe("SageMaker's container contract", () => {
  /** `serve` as SageMaker starts it: by variables alone. */
  async function container(env: Record<string, string>) {
    const base = folder();
    const port = String(await freePort());
    const start = () =>
      serve([], {
        SAGEMAKER_BASE_DIR: base,
        SAGEMAKER_BIND_TO_PORT: port,
        SAGEMAKER_MODEL_SERVER_WORKERS: '1',
        ...env,
      });
    return { base, url: `http://127.0.0.1:${port}`, start };
  }
  it('is kept by a process: folder, variables, ping, invocations, SIGTERM', async () => {
    const { base, url, start } = await container({
      SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT: 'text/csv',
      SAGEMAKER_MAX_PAYLOAD_IN_MB: '1',
      SAGEMAKER_MODEL_SERVER_TIMEOUT: '30',
    });
    mkdirSync(join(base, 'model'));
    await saveModel(model, join(base, 'model', 'small.safetensors'));
    const { child } = await start();
    expect((await fetch(`${url}/ping`)).status).toBe(200);
    const answer = await post(`${url}/invocations`, { instances: rows });
    expect(answer.headers.get('content-type')).toContain('text/csv');
    expect(Float32Array.from((await answer.text()).trim().split(/[\n,]/).map(Number))).toEqual(
      predict(model, inputs).slice(0, 6),
    );
    expect((await post(`${url}/invocations`, Buffer.alloc(1_100_000, 32))).status).toBe(413);
    child.kill('SIGTERM');
    expect(await ended(child)).toBe(0);
  });
  it('loads and unloads models on request with SAGEMAKER_MULTI_MODEL', async () => {
    const { base, url, start } = await container({ SAGEMAKER_MULTI_MODEL: 'true' });
    const { child } = await start();
    await expect.poll(async () => (await fetch(`${url}/ping`)).status, { timeout: 20_000 }).toBe(200);
    // The folder comes after the container.
    const at = join(base, 'models', '1f0c', 'model');
    mkdirSync(at, { recursive: true });
    await saveModel(model, join(at, 'small.safetensors'));
    expect((await post(`${url}/models`, { model_name: '1f0c', url: at })).status).toBe(200);
    const answer = await post(`${url}/models/1f0c/invoke`, { instances: rows });
    expect(Float32Array.from((await answer.json()).predictions.flat())).toEqual(predict(model, inputs).slice(0, 6));
    child.kill('SIGTERM');
    expect(await ended(child)).toBe(0);
  });
  it('says which variable makes no sense', async () => {
    for (const [name, value] of [
      ['SAGEMAKER_BIND_TO_PORT', 'http'],
      ['SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT', 'image/png'],
    ])
      expect(await run(['serve', '--models', '.'], { [name]: value })).toMatchObject({
        code: 2,
        stderr: expect.stringContaining(`${name} is '${value}'`),
      });
  });
});

describe('deploy sagemaker', () => {
  const flags = (file: string, ...more: string[]) => [
    ...['deploy', 'sagemaker', '--name', 'digits', '--model', file, '--bucket', 'models', '--poll-interval', '1'],
    ...[
      '--image',
      '123456789012.dkr.ecr.us-east-1.amazonaws.com/tapegrad:1',
      '--role',
      'arn:aws:iam::123456789012:role/S',
      '--instance-type',
      'ml.m5.large',
      ...more,
    ],
  ];
  it('prints the three requests with --dry-run, and refuses what AWS would', async () => {
    const { stdout } = await run(flags('m.safetensors', '--dry-run'));
    const { createModel, createEndpointConfig, createEndpoint } = JSON.parse(stdout);
    expect(createModel.PrimaryContainer.ModelDataSource.S3DataSource).toEqual({
      S3Uri: `s3://models/${createModel.ModelName}/m.safetensors`,
      S3DataType: 'S3Object',
      CompressionType: 'None',
    });
    expect(createEndpointConfig.ProductionVariants[0]).toMatchObject({
      ModelName: createModel.ModelName,
      InstanceType: 'ml.m5.large',
    });
    expect(createEndpoint).toEqual({
      EndpointName: 'digits',
      EndpointConfigName: createEndpointConfig.EndpointConfigName,
    });
    expect(await run(flags('m', '--dry-run', '--role', 'me'))).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("role is 'me'"),
    });
  });
  withProgram(
    'python3',
    '-c',
    'import moto.server',
  )('uploads, makes, waits, asks, and takes all back when a step fails', async () => {
    const port = await freePort();
    const endpoint = `http://127.0.0.1:${port}`;
    await launch('python3', ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], /Running on/);
    const env = {
      AWS_ENDPOINT_URL: endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    };
    const config = { endpoint, region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
    const s3 = new S3Client({ ...config, forcePathStyle: true });
    const sagemaker = new SageMakerClient(config);
    const count = async () => [
      (await s3.send(new ListObjectsV2Command({ Bucket: 'models' }))).KeyCount,
      (await sagemaker.send(new ListModelsCommand({}))).Models?.length,
    ];
    await s3.send(new CreateBucketCommand({ Bucket: 'models' }));
    const file = join(folder(), 'm.safetensors');
    await saveModel(model, file);
    const first = await run(flags(file), env);
    expect(first.stdout).toMatch(
      /uploaded s3:\/\/models\/digits-\d{14}\/m\.safetensors[\s\S]*endpoint digits is in service\nresponse: /,
    );
    expect(first.code).toBe(0);
    const state = await sagemaker.send(new DescribeEndpointCommand({ EndpointName: 'digits' }));
    expect(state.EndpointStatus).toBe('InService');
    expect(await count()).toEqual([1, 1]);
    // An instance type that moto does not know: what was made before the refusal goes again. Names carry the second.
    const named = Math.floor(Date.now() / 1000);
    await vi.waitFor(() => expect(Math.floor(Date.now() / 1000)).toBeGreaterThan(named), { timeout: 5000 });
    const second = await run(flags(file, '--instance-type', 'ml.unknown.large'), env);
    expect(second.code).toBe(1);
    expect(second.stdout).toMatch(/created model [\s\S]*removed model [\s\S]*removed s3:/);
    expect(await count()).toEqual([1, 1]);
    // The same from a program, and of a file that lies in S3 already.
    vi.stubEnv('AWS_ENDPOINT_URL', endpoint);
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value);
    const lines: string[] = [];
    const options = {
      ...{
        name: 'again',
        model: 's3://models/a/m.safetensors',
        image: 'image:1',
        role: 'arn:aws:iam::123456789012:role/S',
      },
      ...{
        instanceType: 'ml.m5.large',
        region: 'us-east-1',
        pollInterval: 1,
        log: (line: string) => void lines.push(line),
      },
    };
    expect((await deploySageMaker(options)).answer).toBeNull();
    expect(lines.at(-1)).toBe('endpoint again is in service');
    const own = { ...options, name: 'own', model: file, bucket: 'models' };
    expect((await deploySageMaker(own)).requests.createEndpoint.EndpointName).toBe('own');
    await expect(deploySageMaker({ ...own, name: 'bad', instanceType: 'ml.unknown.large' })).rejects.toThrow();
    expect(lines.at(-1)).toMatch(/^removed s3:/);
    vi.unstubAllEnvs();
    // A bucket that is not there: nothing is made at all.
    const third = await run([...flags(file), '--bucket', 'nowhere'], env);
    expect(third.code).toBe(1);
    expect(third.stdout).toBe('');
  });
});

describe('trainer, repository and endpoint as processes of their own', () => {
  it('work together: the trainer publishes twice, and the endpoint serves each time', async () => {
    const repository = folder();
    const trainer = join(folder(), 'trainer.mjs');
    const packed = (name: string) => JSON.stringify(new URL(`../../dist/${name}.js`, import.meta.url).href);
    writeFileSync(
      trainer,
      `import { mkdirSync } from 'node:fs';
import { manualSeed, nn, optim, randn } from ${packed('index')};
import { saveModel } from ${packed('io/index')};
const [repository, version] = process.argv.slice(2);
manualSeed(Number(version));
const model = new nn.Sequential(new nn.Linear(3, 1));
const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
const x = randn([256, 3]);
for (let i = 0; i < 200; i++) {
  new nn.MSELoss().forward(model.forward(x), x.sum(1, true)).backward();
  optimizer.step();
  optimizer.zeroGrad();
}
mkdirSync(\`\${repository}/sum/\${version}\`, { recursive: true });
await saveModel(model, \`\${repository}/sum/\${version}/model.safetensors\`);
`,
    );
    const train = (version: string) => promisify(execFile)(process.execPath, [trainer, repository, version]);
    const { child, match } = await serve([
      '--models',
      repository,
      '--port',
      '0',
      '--scan-interval',
      '50',
      '--log-level',
      'error',
    ]);
    const client = new InferenceClient(match[1]);
    expect(await client.ready()).toBe(false);
    for (const version of ['1', '2']) {
      await train(version);
      await vi.waitFor(async () => expect(await client.ready('sum', version)).toBe(true), { timeout: 30_000 });
      const answer = await client.infer('sum', [[1, 2, 3]]);
      expect(answer.version).toBe(version);
      expect(answer.data[0]).toBeCloseTo(6, 3);
    }
    expect(readdirSync(join(repository, 'sum')).sort()).toEqual(['1', '2']);
    expect(await loadModel(join(repository, 'sum', '2', 'model.safetensors'))).toBeDefined();
    child.kill('SIGINT');
    expect(await ended(child)).toBe(0);
  });
});

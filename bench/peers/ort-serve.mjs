// The peer of `npm run bench:serve`: onnxruntime-node behind Fastify, in the same protocol.
//   node ort-serve.mjs MODEL.onnx   prints the port
import { fastify } from 'fastify';
import * as ort from 'onnxruntime-node';

const threads = { intraOpNumThreads: 1, interOpNumThreads: 1 };
const session = await ort.InferenceSession.create(process.argv[2], threads);
const app = fastify({ bodyLimit: 64 * 2 ** 20 });
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
app.post('/v2/models/digits/infer', async (request, reply) => {
  const { body, headers } = request;
  const length = headers['inference-header-content-length'];
  const json = JSON.parse(body.subarray(0, length === undefined ? body.length : Number(length)).toString());
  const [{ shape, data }] = json.inputs;
  const values =
    data === undefined
      ? new Float32Array(body.buffer.slice(body.byteOffset + Number(length), body.byteOffset + body.length))
      : Float32Array.from(data);
  const { output } = await session.run({ input: new ort.Tensor('float32', values, shape) });
  const answer = { model_name: 'digits', outputs: [{ name: 'output', shape: output.dims, datatype: 'FP32' }] };
  if (data !== undefined) {
    answer.outputs[0].data = Array.from(output.data);
    return reply.type('application/json').send(JSON.stringify(answer));
  }
  answer.outputs[0].parameters = { binary_data_size: output.data.byteLength };
  const head = Buffer.from(JSON.stringify(answer));
  reply.header('inference-header-content-length', String(head.length)).type('application/octet-stream');
  return reply.send(
    Buffer.concat([head, Buffer.from(output.data.buffer, output.data.byteOffset, output.data.byteLength)]),
  );
});
await app.listen({ host: '127.0.0.1', port: 0 });
console.log(`at http://127.0.0.1:${app.server.address().port}`);

import { type Static, Type } from 'typebox';

// JSON schemas of the Open Inference Protocol, version 2, REST
// (https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md), and of its binary
// tensor extension (https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md).

const Parameters = Type.Record(Type.String(), Type.Unknown());

export const TensorMetadata = Type.Object({
  name: Type.String(),
  datatype: Type.String(),
  shape: Type.Array(Type.Integer(), { description: '-1 for a dimension of variable size' }),
});

export const ServerMetadata = Type.Object({
  name: Type.String(),
  version: Type.String(),
  extensions: Type.Array(Type.String()),
});

export const ModelMetadata = Type.Object({
  name: Type.String(),
  versions: Type.Array(Type.String()),
  platform: Type.String(),
  inputs: Type.Array(TensorMetadata),
  outputs: Type.Array(TensorMetadata),
});
export type ModelMetadata = Static<typeof ModelMetadata>;

const RequestInput = Type.Object({
  name: Type.String(),
  shape: Type.Array(Type.Integer()),
  datatype: Type.String(),
  parameters: Type.Optional(Parameters),
  data: Type.Optional(
    Type.Array(Type.Unknown(), {
      description: 'numbers in row-major order, flat or nested; absent in binary requests',
    }),
  ),
});

const RequestOutput = Type.Object({ name: Type.String(), parameters: Type.Optional(Parameters) });

export const InferenceRequest = Type.Object({
  id: Type.Optional(Type.String()),
  parameters: Type.Optional(Parameters),
  inputs: Type.Array(RequestInput),
  outputs: Type.Optional(Type.Array(RequestOutput)),
});
export type InferenceRequest = Static<typeof InferenceRequest>;

export const InferenceResponse = Type.Object({
  model_name: Type.String(),
  model_version: Type.Optional(Type.String()),
  id: Type.Optional(Type.String()),
  parameters: Type.Optional(Parameters),
  outputs: Type.Array(
    Type.Object({
      name: Type.String(),
      shape: Type.Array(Type.Integer()),
      datatype: Type.String(),
      parameters: Type.Optional(Parameters),
      data: Type.Optional(Type.Array(Type.Unknown())),
    }),
  ),
});
export type InferenceResponse = Static<typeof InferenceResponse>;

export const ErrorBody = Type.Object({ error: Type.String() });

export const FeedbackRequest = Type.Object(
  {
    id: Type.String({
      minLength: 1,
      maxLength: 200,
      description: 'the x-request-id of the prediction, or the id in its request',
    }),
    labels: Type.Array(Type.Number(), {
      minItems: 1,
      maxItems: 64,
      description:
        'one label for each row, of which predictions to be labelled have at most 64: the class index, or the target value for models with one output',
    }),
  },
  { additionalProperties: false },
);
export type FeedbackRequest = Static<typeof FeedbackRequest>;

export const FeedbackResponse = Type.Object({
  model_name: Type.String(),
  model_version: Type.String(),
  matched: Type.Integer({ description: 'the number of predictions matched with a label' }),
});

/** SageMaker's request to load a model (https://docs.aws.amazon.com/sagemaker/latest/dg/mms-container-apis.html). */
export const LoadModelRequest = Type.Object({ model_name: Type.String(), url: Type.String() });

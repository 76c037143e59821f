// Conversion of other number types to float32.

export interface Decoder {
  readonly bytes: number;
  read(view: DataView, at: number): number;
  /** Whether a number that float32 cannot represent is an error instead of being rounded. */
  readonly exact?: true;
}

function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

const scratch = /* @__PURE__ */ new DataView(/* @__PURE__ */ new ArrayBuffer(4));

function bfloat(bits: number): number {
  scratch.setUint16(0, bits);
  scratch.setUint16(2, 0);
  return scratch.getFloat32(0);
}

/** Decoders of little-endian numbers by the type names of safetensors. */
export const decoders: Readonly<Record<string, Decoder>> = {
  F32: { bytes: 4, read: (v, at) => v.getFloat32(at, true) },
  F64: { bytes: 8, read: (v, at) => v.getFloat64(at, true) },
  F16: { bytes: 2, read: (v, at) => half(v.getUint16(at, true)) },
  BF16: { bytes: 2, read: (v, at) => bfloat(v.getUint16(at, true)) },
  I8: { bytes: 1, read: (v, at) => v.getInt8(at) },
  U8: { bytes: 1, read: (v, at) => v.getUint8(at) },
  I16: { bytes: 2, read: (v, at) => v.getInt16(at, true) },
  U16: { bytes: 2, read: (v, at) => v.getUint16(at, true) },
  I32: { bytes: 4, read: (v, at) => v.getInt32(at, true), exact: true },
  U32: { bytes: 4, read: (v, at) => v.getUint32(at, true), exact: true },
  I64: { bytes: 8, read: (v, at) => Number(v.getBigInt64(at, true)), exact: true },
  U64: { bytes: 8, read: (v, at) => Number(v.getBigUint64(at, true)), exact: true },
  BOOL: { bytes: 1, read: (v, at) => v.getUint8(at) },
};

/** Whether float32 can represent a number of this type: integers exactly, others without overflow. */
export function fits({ exact }: Decoder, v: number): boolean {
  const rounded = Math.fround(v);
  return exact ? rounded === v : Number.isFinite(rounded) || !Number.isFinite(v);
}

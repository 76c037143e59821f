// JSON writes NaN and Infinity as null. To preserve them, checkpoints encode them as { "nonFinite": "NaN" }.

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'number' && !Number.isFinite(v) ? { nonFinite: String(v) } : v,
  );
}

export function fromJson(text: string): unknown {
  return JSON.parse(text, (_, v: unknown) => {
    if (typeof v !== 'object' || v === null) return v;
    const { nonFinite, ...rest } = v as { nonFinite?: unknown };
    return typeof nonFinite === 'string' && Object.keys(rest).length === 0 ? Number(nonFinite) : v;
  });
}

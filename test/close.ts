/** The first element that is not close, as text; null where |actual - expected| <= atol + rtol |expected| throughout, NaN and the infinities equal to themselves. */
export function difference(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  rtol = 1e-5,
  atol = 1e-6,
): string | null {
  if (actual.length !== expected.length) return `${actual.length} numbers instead of ${expected.length}`;
  for (let i = 0; i < actual.length; i++) {
    const [a, e] = [actual[i], expected[i]];
    if (Object.is(a, e) || a === e) continue;
    if (!(Math.abs(a - e) <= atol + rtol * Math.abs(e))) return `element ${i} is ${a}, expected ${e}`;
  }
  return null;
}

// Functions that the rows' expressions for the GPU call, because the shader's own lack digits or special values: its log
// has 2^-21 of absolute error around 1, its tanh cancels near 0 and overflows far out, its pow takes no negative numbers,
// and what any of them makes of NaN is undefined. A comparison with NaN is false, so x === x asks for it; x !== x does
// not, as shaders compare "ordered and not equal".

/** Gives back 2 artanh s, which is the logarithm of (1 + s) / (1 - s), for |s| <= 1/3. No function, as gpu.js loses track of functions that two others call. */
const giveTwiceArtanh = (s: string) => `const s = ${s};
    const z = s * s;
    return 2 * s * (1 + z * (0.33333333 + z * (0.2 + z * (0.14285714 + z * (0.11111111 + z * (0.09090909 + z * 0.07692308))))));`;

const expOf = `function expOf(x) {
  if (x === x) { return Math.exp(x); }
  return x;
}`;

const logOf = `function logOf(x) {
  if (x > 0.5 && x < 2) {
    ${giveTwiceArtanh('(x - 1) / (x + 1)')}
  }
  if (x < 0) { return (x - x) / (x - x); }
  if (x === 0) { return -1 / (x * x); }
  if (x === x) { return Math.log(x); }
  return x;
}`;

const log1pOf = `function log1pOf(x) {
  if (x > -0.5 && x < 1) {
    ${giveTwiceArtanh('x / (x + 2)')}
  }
  return logOf(1 + x);
}`;

const tanhOf = `function tanhOf(x) {
  const z = x * x;
  if (z < 0.09) { return x + x * z * (-0.33333333 + z * (0.13333333 + z * (-0.053968254 + z * 0.021869489))); }
  if (x > 9.1) { return 1; }
  if (x < -9.1) { return -1; }
  if (x === x) { return 1 - 2 / (Math.exp(2 * x) + 1); }
  return x;
}`;

const powOf = `function powOf(a, b) {
  if (b === 0 || a === 1) { return 1; }
  if (a === 0) {
    if (b > 0) { return 0; }
    if (b < 0) { return 1 / (a * a); }
    return b;
  }
  if (a > 0) {
    if (b === b) { return Math.pow(a, b); }
    return b;
  }
  if (a < 0) {
    const most = 3.4028234e38;
    if (a === -1 && (b > most || b < -most)) { return 1; }
    if (b === Math.floor(b / 2) * 2) { return Math.pow(-a, b); }
    if (b === Math.floor(b)) { return -Math.pow(-a, b); }
    if (a < -most && b === b) { return Math.pow(-a, b); }
    return (b - b) / (b - b);
  }
  return a;
}`;

/** In the order in which they call each other. */
export const functions: readonly string[] = [expOf, logOf, log1pOf, tanhOf, powOf];

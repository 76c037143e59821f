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

/**
 * The sine of x and `turn` right angles. The shader's own sine loses digits with every turn: here x is reduced by multiples of π/2, in
 * four parts of which the first three have 8 bits, so that their products with up to 2^16 are exact. Beyond 10^5 it is the shader's own.
 */
const wave = (name: string, own: string, turn: string) => `function ${name}(x) {
  if (x > 100000 || x < -100000) {
    if (x - x === 0) { return ${own}(x); }
    return (x - x) / (x - x);
  }
  if (x === x) {
    const n = Math.floor(x * 0.63661977 + 0.5);
    const r = x - n * 1.5703125 - n * 0.00048255920410156 - n * 0.00000126659870147705 - n * 9.920935796805404e-10;
    const z = r * r;
    const q = n${turn} - Math.floor((n${turn}) * 0.25) * 4;
    const s = r + r * z * (-0.166666549 + z * (0.00833217354 - z * 0.000195166558));
    const k = 1 - 0.5 * z + z * z * (0.0416666467 + z * (-0.00138873614 + z * 0.0000244377300));
    if (q === 0) { return s; }
    if (q === 1) { return k; }
    if (q === 2) { return -s; }
    return -k;
  }
  return x;
}`;

/** What the normal distribution has above a, from 0 to 13.5: e^(-a²/2) times a polynomial of 1 / (1 + 0.35 a), as on the CPU. */
const tail = (a: string) => `const a = ${a};
    const t = 1 / (1 + 0.35 * a);
    const q = Math.exp(-0.5 * a * a) * t * (0.139621660 + t * (0.139857560 + t * (0.119863078 + t * (0.105392188 + t * (-0.0228435211
      + t * (0.158796713 + t * (-0.255391151 + t * (0.143818483 - t * 0.0291150305))))))));`;

const phiOf = `function phiOf(x) {
  if (x > 13.5) { return 1; }
  if (x < -13.5) { return 0; }
  if (x === x) {
    ${tail('Math.abs(x)')}
    if (x < 0) { return q; }
    return 1 - q;
  }
  return x;
}`;

const erfOf = `function erfOf(x) {
  if (x > 4) { return 1; }
  if (x < -4) { return -1; }
  const z = x * x;
  if (z < 1) {
    return x * (1.12837911 + z * (-0.376123250 + z * (0.112801798 + z * (-0.0267113112 + z * (0.00491755130 - z * 0.000563142239)))));
  }
  if (x === x) {
    ${tail('Math.abs(x) * 1.41421356')}
    if (x < 0) { return 2 * q - 1; }
    return 1 - 2 * q;
  }
  return x;
}`;

const expm1Of = `function expm1Of(x) {
  if (x < 0.5 && x > -0.5) {
    return x + x * x * (0.5 + x * (0.16666667 + x * (0.041666667 + x * (0.0083333333 + x * (0.0013888889 + x * (0.00019841270 + x * 0.000024801587))))));
  }
  if (x === x) { return Math.exp(x) - 1; }
  return x;
}`;

/** To the nearest whole number, the even one of two. Where there is no half any more x is whole, and infinities are. */
const roundOf = `function roundOf(x) {
  if (x < 8388608 && x > -8388608) {
    const f = Math.floor(x);
    const d = x - f;
    if (d < 0.5) { return f; }
    if (d > 0.5) { return f + 1; }
    if (Math.floor(f * 0.5) * 2 === f) { return f; }
    return f + 1;
  }
  return x;
}`;

/** The derivative of x σ(u), where d is that of u. */
const slopeOf = `function slopeOf(u, x, d) {
  if (u === u) {
    if (u < 0) {
      const e = Math.exp(u);
      return (e / (1 + e)) * (1 + (x * d) / (1 + e));
    }
    const f = Math.exp(-u);
    return (1 / (1 + f)) * (1 + x * d * (f / (1 + f)));
  }
  return u;
}`;

/** In the order in which they call each other. */
export const functions: readonly string[] = [
  expOf,
  logOf,
  log1pOf,
  tanhOf,
  powOf,
  wave('sinOf', 'Math.sin', ''),
  wave('cosOf', 'Math.cos', ' + 1'),
  phiOf,
  erfOf,
  expm1Of,
  roundOf,
  slopeOf,
];

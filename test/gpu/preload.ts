// For programs that tests run in a process of their own: node --import tsx --import this-file program.mjs
import { useSwiftShader } from './unpack.js';

if (process.env.TAPEGRAD_TEST_GPU !== 'native') useSwiftShader();

// tapegrad itself among the peers: node --import tsx bench/compare/tapegrad.ts THREADS
import { setNumThreads } from 'tapegrad';
import { serve } from '../peers/serve.mjs';
import { workloads } from '../workloads.js';

setNumThreads(Number(process.argv[2]));
await serve('tapegrad', (name: string) => {
  const workload = workloads.find((w) => w.name === name);
  if (!workload) throw new Error(`no workload is called ${name}`);
  return workload.make().run;
});

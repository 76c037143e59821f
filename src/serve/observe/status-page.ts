// The status page: self-contained HTML. Its script fetches /status every two seconds and draws the values since the page was
// opened.

const style = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; background: #fff; }
h1 small { font-weight: normal; color: #666; font-size: 1rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid #ddd; border-radius: 6px; padding: .6rem; }
figcaption { display: flex; justify-content: space-between; }
figure small { color: #666; }
svg { width: 100%; height: 7rem; display: block; }
polyline { fill: none; stroke: #2563eb; stroke-width: 2; vector-effect: non-scaling-stroke; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #eee; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bad { color: #b91c1c; } .good { color: #15803d; }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd; } figure { border-color: #444; } th, td { border-color: #333; } }
`;

const script = `
'use strict';
const series = { rate: [], latency: [], errors: [], queue: [], memory: [], drift: [] };
const POINTS = 150;
let before = null;
const $ = (id) => document.getElementById(id);
const perSecond = (n) => n.toFixed(1) + ' / s';
const sum = (list, of) => list.reduce((n, x) => n + of(x), 0);
function draw(name, value, format) {
  const points = series[name];
  points.push(value);
  if (points.length > POINTS) points.shift();
  const top = Math.max(...points, 1e-9);
  // New values appear on the right.
  const line = points.map((p, i) => (100 - (points.length - 1 - i) * 100 / (POINTS - 1)).toFixed(2) + ',' + (38 - 36 * p / top).toFixed(2)).join(' ');
  $(name).querySelector('polyline').setAttribute('points', line);
  $(name).querySelector('b').textContent = format(value);
  $(name).querySelector('small').textContent = 'last 5 minutes, top ' + format(top);
}
function rows(id, list) {
  const body = $(id);
  const heads = body.previousElementSibling.rows[0].cells;
  body.replaceChildren(...list.map((cells) => {
    const tr = document.createElement('tr');
    for (const cell of cells) {
      const td = document.createElement('td');
      td.textContent = cell;
      td.className = heads[tr.children.length].className;
      tr.append(td);
    }
    return tr;
  }));
}
async function tick() {
  let s;
  try {
    s = await (await fetch('status', { headers: { accept: 'application/json' } })).json();
  } catch {
    $('state').textContent = 'unreachable';
    $('state').className = 'bad';
    return;
  }
  $('state').textContent = s.ready ? 'ready' : 'not ready';
  $('state').className = s.ready ? 'good' : 'bad';
  $('at').textContent = s.at.slice(11, 19) + ' UTC, ' + s.workers.ready + ' of ' + s.workers.configured + ' workers';
  const now = { t: Date.parse(s.at) / 1000, requests: sum(s.totals, (x) => x.requests), errors: sum(s.totals, (x) => x.errors), seconds: sum(s.totals, (x) => x.seconds) };
  if (before && now.t > before.t) {
    const [n, dt] = [now.requests - before.requests, now.t - before.t];
    draw('rate', n / dt, perSecond);
    draw('errors', (now.errors - before.errors) / dt, perSecond);
    draw('latency', n > 0 ? 1000 * (now.seconds - before.seconds) / n : 0, (ms) => ms.toFixed(2) + ' ms');
  }
  before = now;
  draw('queue', s.queue.depth, (n) => n.toFixed(0) + ' of ' + s.queue.limit);
  draw('memory', s.memory, (bytes) => (bytes / 2 ** 20).toFixed(0) + ' MiB');
  draw('drift', Math.max(0, ...s.drift.map((d) => d.share)), (share) => s.drift.length ? (100 * share).toFixed(0) + ' %' : 'no data yet');
  const quality = (m) => {
    const q = s.quality.find((x) => x.model === m.name && x.version === m.version);
    return !q ? '' : q.accuracy === null ? q.meanAbsoluteError.toPrecision(4) + ' error' : (100 * q.accuracy).toFixed(2) + ' % of ' + q.labels;
  };
  const total = (m) => s.totals.find((x) => x.model === m.name && x.version === m.version) || { requests: 0, errors: 0, rows: 0 };
  rows('models', s.models.map((m) => [m.name, m.version, m.loadedAt.slice(0, 19).replace('T', ' '), String(total(m).requests), String(total(m).rows), String(total(m).errors), quality(m)]));
  rows('failures', s.failures.map((f) => [f.name, f.version, f.reason]));
  $('broken').hidden = s.failures.length === 0;
  rows('paths', s.ignored.map((i) => [i.path, i.reason]));
  $('ignored').hidden = s.ignored.length === 0;
  rows('columns', s.drift.flatMap((d) => d.worst.map((c) => [d.model + '/' + d.version, c.name, c.psi.toFixed(3), c.ks.toFixed(3), c.distance.toFixed(3), c.drifted ? 'drifted' : ''])));
}
tick();
setInterval(tick, 2000);
`;

const chart = (id: string, title: string) =>
  `<figure id="${id}"><figcaption><span>${title}</span><b>…</b></figcaption><svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label="${title}"><polyline points=""/></svg><small></small></figure>`;

/** A head with the prefix `#` formats its column as numbers. */
const table = (id: string, heads: readonly string[]) => {
  const cells = heads.map((h) => (h.startsWith('#') ? `<th class="n">${h.slice(1)}</th>` : `<th>${h}</th>`));
  return `<table><thead><tr>${cells.join('')}</tr></thead><tbody id="${id}"></tbody></table>`;
};

/** The HTML of the page. */
export const statusPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>tapegrad serve</title>
<style>${style}</style>
</head>
<body>
<h1>tapegrad <span id="state">…</span> <small id="at"></small></h1>
<div class="charts">
${chart('rate', 'Requests')}
${chart('latency', 'Mean latency')}
${chart('errors', 'Errors')}
${chart('queue', 'Queue')}
${chart('memory', 'Memory')}
${chart('drift', 'Features with drift')}
</div>
<h2>Models</h2>
${table('models', ['model', '#version', 'loaded', '#requests', '#samples', '#errors', '#live quality'])}
<div id="broken" hidden><h2 class="bad">Versions that failed to load</h2>
${table('failures', ['model', '#version', 'reason'])}</div>
<div id="ignored" hidden><h2>Ignored in the model repository</h2>
${table('paths', ['path', 'reason'])}</div>
<h2>Drift</h2>
${table('columns', ['model', 'column', '#PSI', '#KS', '#distance', ''])}
<script>${script}</script>
</body>
</html>
`;

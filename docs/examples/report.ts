// The report of digits.ts: one self-contained HTML file, with charts as inline SVG (Apache ECharts) and digits as inline PNG.
import * as echarts from 'echarts';
import { encode } from 'fast-png';
import type { History } from 'tapegrad';

export interface DigitsResult {
  history: History;
  accuracy: number;
  seconds: number;
  confusion: number[][];
  /** [n, 784], 0..1 */
  images: Float32Array;
  labels: Float32Array;
  /** [n, 10] */
  probabilities: Float32Array;
}

function chart(option: echarts.EChartsOption, width: number, height: number): string {
  const instance = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  instance.setOption({ animation: false, ...option });
  const svg = instance.renderToSVGString();
  instance.dispose();
  return svg;
}

function curve(title: string, epochs: number[], series: Record<string, number[]>): string {
  return chart(
    {
      title: { text: title, left: 'center' },
      legend: { bottom: 0 },
      grid: { left: 60, right: 20, top: 45, bottom: 60 },
      xAxis: { type: 'category', data: epochs, name: 'epoch', nameLocation: 'middle', nameGap: 24 },
      yAxis: { type: 'value', scale: true },
      series: Object.entries(series).map(([name, values]) => ({ name, type: 'line', data: values, symbolSize: 6 })),
    },
    480,
    320,
  );
}

function heatmap(confusion: number[][]): string {
  const classes = confusion.map((_, i) => String(i));
  // Only errors are shaded: on the scale of the correct predictions they would be invisible.
  const cells = confusion.flatMap((row, y) => row.map((count, x) => [x, y, x === y ? 0 : count]));
  return chart(
    {
      title: { text: 'Confusion matrix', left: 'center' },
      grid: { left: 60, right: 20, top: 45, bottom: 50 },
      xAxis: { type: 'category', data: classes, name: 'prediction', nameLocation: 'middle', nameGap: 28 },
      yAxis: { type: 'category', data: classes, name: 'label', nameLocation: 'middle', nameGap: 28, inverse: true },
      visualMap: {
        min: 0,
        max: Math.max(1, ...cells.map((c) => c[2])),
        show: false,
        inRange: { color: ['#ffffff', '#d7301f'] },
      },
      series: [
        {
          type: 'heatmap',
          data: cells,
          label: {
            show: true,
            formatter: ({ value }) => String(confusion[(value as number[])[1]][(value as number[])[0]]),
          },
        },
      ],
    },
    600,
    480,
  );
}

function picture(pixels: Float32Array): string {
  const png = encode({
    width: 28,
    height: 28,
    channels: 1,
    depth: 8,
    data: Uint8Array.from(pixels, (v) => 255 - Math.round(v * 255)),
  });
  return `data:image/png;base64,${Buffer.from(png).toString('base64')}`;
}

function worstMistakes({ images, labels, probabilities }: DigitsResult, count: number): string {
  const mistakes = Array.from(labels, (label, i) => {
    const row = probabilities.subarray(i * 10, i * 10 + 10);
    const predicted = row.indexOf(Math.max(...row));
    return { i, label, predicted, sure: row[predicted] };
  }).filter((m) => m.predicted !== m.label);
  mistakes.sort((a, b) => b.sure - a.sure);
  return mistakes
    .slice(0, count)
    .map(
      (m) =>
        `<figure><img width="84" height="84" alt="test image ${m.i}, a ${m.label}" src="${picture(images.subarray(m.i * 784, m.i * 784 + 784))}"><figcaption>${m.label}, taken for ${m.predicted}<br>${(100 * m.sure).toFixed(1)} % sure</figcaption></figure>`,
    )
    .join('\n');
}

/** The HTML of the report. */
export function digitsReport(result: DigitsResult): string {
  const { epochs } = result.history;
  const numbers = epochs.map((e) => e.epoch);
  const loss = curve('Loss', numbers, {
    training: epochs.map((e) => e.loss),
    validation: epochs.map((e) => e.validation!.loss),
  });
  const accuracy = curve('Validation accuracy', numbers, { accuracy: epochs.map((e) => e.validation!.accuracy) });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Digits report</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #222; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; }
figure { margin: 0; text-align: center; font-size: 0.85rem; }
img { image-rendering: pixelated; border: 1px solid #ccc; }
svg { max-width: 100%; height: auto; }
</style>
</head>
<body>
<h1>Digits: ${(100 * result.accuracy).toFixed(2)} % of ${result.labels.length} test images right</h1>
<p>${epochs.length} epochs in ${result.seconds.toFixed(1)} s.</p>
<div class="row">${loss}${accuracy}</div>
${heatmap(result.confusion)}
<h2>The worst mistakes</h2>
<div class="row">
${worstMistakes(result, 24)}
</div>
</body>
</html>
`;
}

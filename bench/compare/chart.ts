// Speed relative to PyTorch (the better of its thread counts) as bars on a logarithmic axis.
import { BarChart } from 'echarts/charts';
import { GridComponent, LegendComponent, TitleComponent } from 'echarts/components';
import * as echarts from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { best, type Measured, ratio } from './report.js';

echarts.use([BarChart, GridComponent, LegendComponent, TitleComponent, SVGRenderer]);

export function chart(measured: readonly Measured[]): string {
  const shown = measured.filter((m) => !m.workload.name.includes('disposed'));
  const hasTorch = shown.some((m) => best(m, 'PyTorch'));
  const base = hasTorch ? 'PyTorch' : 'tapegrad';
  const series = ['tapegrad', 'jax-js', 'tfjs'].map((name) => ({
    name,
    type: 'bar' as const,
    data: shown.map((m) => {
      const r = ratio(best(m, name), best(m, base));
      return r === null ? null : +r.toPrecision(3);
    }),
    barGap: '0%',
  }));
  const instance = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 860, height: 40 + 34 * shown.length });
  instance.setOption({
    animation: false,
    backgroundColor: '#fff',
    title: { text: `Speed relative to ${base} = 1`, left: 'center', textStyle: { fontSize: 14 } },
    legend: { bottom: 0 },
    grid: { left: 120, right: 24, top: 36, bottom: 56 },
    xAxis: { type: 'log', axisLabel: { formatter: '{value}x' } },
    yAxis: { type: 'category', inverse: true, data: shown.map((m) => m.workload.name) },
    series,
  });
  const svg = instance.renderToSVGString();
  instance.dispose();
  return svg;
}

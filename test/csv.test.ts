import { describe, expect, it } from 'vitest';
import { type CsvOptions, parseCsv, readCsv } from '../src/io/index.js';
import { errorOf } from './helpers.js';

const iris = 'length,width,species\n5.1,3.5,setosa\n6.2,,virginica\n';
const read = async (options: CsvOptions, text = iris) => {
  const { columns, values } = await parseCsv(text, options);
  return { columns, values: values.toArraySync() };
};
const f = Math.fround;

describe('a CSV file with a column of texts', () => {
  it('is read without it', async () => {
    const expected = {
      columns: ['length', 'width'],
      values: [
        [f(5.1), 3.5],
        [f(6.2), NaN],
      ],
    };
    expect(await read({ skip: ['species'] })).toEqual(expected);
    expect(await read({ columns: ['length', 'width'] })).toEqual(expected);
  });
  it('gives the columns in the order of their names', async () => {
    expect(await read({ columns: ['width', 'length'] })).toEqual({
      columns: ['width', 'length'],
      values: [
        [3.5, f(5.1)],
        [NaN, f(6.2)],
      ],
    });
    expect(await read({ columns: ['width'] })).toEqual({ columns: ['width'], values: [[3.5], [NaN]] });
    expect((await read({ skip: ['length', 'species'] })).columns).toEqual(['width']);
    expect((await read({ skip: [] }, 'a,b\n1,2')).columns).toEqual(['a', 'b']);
    expect(await read({ columns: ['2', '0'], header: false }, '1,x,3')).toEqual({
      columns: ['2', '0'],
      values: [[3, 1]],
    });
  });
  it('takes strings that mark missing values', async () => {
    expect((await read({ missing: ['setosa', 'virginica', ''] })).values).toEqual([
      [f(5.1), 3.5, NaN],
      [f(6.2), NaN, NaN],
    ]);
    expect((await read({}, 'a\nNA\nNaN\nnan\nnull\n1')).values).toEqual([[NaN], [NaN], [NaN], [NaN], [1]]);
  });
  it('may have a byte order mark, blanks around its fields and empty lines', async () => {
    expect(await read({ columns: ['b', 'a'] }, '\ufeffa, b ,c\n\n 1 ,2,x\n\n')).toEqual({
      columns: ['b', 'a'],
      values: [[2, 1]],
    });
  });
  it('can be a file', async () => {
    const { columns, values } = await readCsv('docs/examples/data/diabetes.csv', { columns: ['progression', 'age'] });
    expect(columns).toEqual(['progression', 'age']);
    expect(values.shape).toEqual([442, 2]);
    const all = await readCsv('docs/examples/data/diabetes.csv');
    const place = all.columns.indexOf('age');
    expect(values.dataSync()[3]).toBe(all.values.dataSync()[11 + place]);
  });
  it.each<[string, CsvOptions | unknown, string]>([
    [
      'a text cell',
      {},
      "row 0, column 'species' is 'setosa'; only numbers become tensors: leave the column out with { skip: ['species'] }, choose others with { columns: […] }",
    ],
    ['a chosen text cell', { columns: ['width', 'species'] }, "row 0, column 'species'"],
    ['an empty field that is not listed', { skip: ['species'], missing: [] }, "row 1, column 'width' is ''"],
    [
      'an unknown column',
      { columns: ['width', 'petal'] },
      "columns has the unknown name 'petal'; the columns are 'length', 'width', 'species'",
    ],
    [
      'an unknown column to skip',
      { skip: ['Species'] },
      "skip has the unknown name 'Species'; the columns are 'length'",
    ],
    ['a name that an object has', { columns: ['length', 'constructor'] }, "unknown name 'constructor'"],
    ['a column twice', { columns: ['width', 'width'] }, "columns has the name 'width' twice; name each column once"],
    ['both options', { columns: ['width'], skip: ['species'] }, 'both columns and skip are given; name'],
    ['no columns', { columns: [] }, "columns none selects no column; the columns are 'length'"],
    ['no column left', { skip: ['length', 'width', 'species'] }, "skip 'length', 'width', 'species' selects no column"],
    ['a text for columns', { columns: 'width' }, "columns is 'width'; pass an array of strings"],
    ['numbers for names', { skip: [2] }, 'skip is [2]; pass an array of strings'],
    ['a text for missing', { missing: 'NA' }, "missing is 'NA'"],
    ['a header that is no boolean', { header: 'yes' }, "header is 'yes'; pass true or false"],
    ['an empty delimiter', { delimiter: '' }, "delimiter is ''; pass a string"],
    ['a delimiter that is no text', { delimiter: 5 }, 'delimiter is 5'],
    [
      'an unknown option',
      { column: ['a'] },
      "unknown option 'column'; known options are header, delimiter, missing, columns, skip",
    ],
  ])('refuses %s', async (_, options, text) => {
    const error = await errorOf(() => parseCsv(iris, options as CsvOptions));
    expect(error.op).toBe('parseCsv');
    expect(error.message).toContain(text);
  });
  it('refuses names that stand for two columns, and what is no text', async () => {
    expect((await errorOf(() => read({ columns: ['a'] }, 'a,a\n1,2'))).message).toContain(
      "the file has the column 'a' twice; give its columns different names",
    );
    expect((await read({ skip: ['a'] }, 'a,a,b\n1,2,3')).columns).toEqual(['b']);
    expect((await errorOf(() => parseCsv(new Uint8Array(2) as never))).message).toContain(
      'the text is a Uint8Array; pass a string',
    );
  });
});

import { tensor } from '../create.js';
import { checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { readFile } from './disk.js';

/** Options of {@link parseCsv} and {@link readCsv}. */
export interface CsvOptions {
  /** Whether the first line contains the names of the columns. Default true. */
  header?: boolean;
  /** The separator of fields. Default ','. */
  delimiter?: string;
  /** Strings that mark a missing value and become NaN. Default '', 'NA', 'NaN', 'nan', 'null'. */
  missing?: readonly string[];
  /** The names of the columns to read, in this order; '0', '1' … without a header. Default: all. */
  columns?: readonly string[];
  /** The names of the columns to omit, such as columns of text; an alternative to `columns`. */
  skip?: readonly string[];
}

/** A table of numbers from a CSV file. */
export interface CsvTable {
  /** The names of the columns in `values`; '0', '1' … without a header. */
  columns: string[];
  /** The numbers, shape [rows, columns]; NaN for missing values. */
  values: Tensor;
}

const OPTIONS = ['header', 'delimiter', 'missing', 'columns', 'skip'];

function checkStrings(name: string, value: unknown): void {
  if (!Array.isArray(value) || !value.every((v) => typeof v === 'string'))
    fail('parseCsv', `${name} is ${describe(value)}`, 'pass an array of strings');
}

function check(text: unknown, options: CsvOptions): void {
  if (typeof text !== 'string')
    fail('parseCsv', `the text is ${describe(text)}`, 'pass a string; readCsv reads a file');
  checkOptions('parseCsv', options, OPTIONS);
  const { header = true, delimiter = ',', ...lists } = options;
  if (typeof header !== 'boolean') fail('parseCsv', `header is ${describe(header)}`, 'pass true or false');
  if (typeof delimiter !== 'string' || delimiter === '')
    fail('parseCsv', `delimiter is ${describe(delimiter)}`, "pass a string such as ';'");
  for (const [name, value] of Object.entries(lists)) if (value !== undefined) checkStrings(name, value);
  if (options.columns !== undefined && options.skip !== undefined)
    fail('parseCsv', 'both columns and skip are given', 'name the columns to read, or those to leave out');
}

/** The indices of the columns to read. */
function choose(names: readonly string[], { columns, skip = [] }: CsvOptions): number[] {
  const given = columns ?? skip;
  const option = columns === undefined ? 'skip' : 'columns';
  given.forEach((name, i) => {
    if (!names.includes(name))
      fail('parseCsv', `${option} has the unknown name ${describe(name)}`, `the columns are ${quoted(names)}`);
    if (given.indexOf(name) !== i)
      fail('parseCsv', `${option} has the name ${describe(name)} twice`, 'name each column once');
    if (columns !== undefined && names.indexOf(name) !== names.lastIndexOf(name))
      fail('parseCsv', `the file has the column ${describe(name)} twice`, 'give its columns different names');
  });
  const places =
    columns?.map((name) => names.indexOf(name)) ?? [...names.keys()].filter((i) => !skip.includes(names[i]));
  if (places.length === 0)
    fail('parseCsv', `${option} ${quoted(given)} selects no column`, `the columns are ${quoted(names)}`);
  return places;
}

const quoted = (names: readonly string[]): string => names.map((name) => `'${name}'`).join(', ') || 'none';

/**
 * Parses CSV text ([RFC 4180](https://www.rfc-editor.org/rfc/rfc4180)) of numbers into a tensor; `columns` or `skip` omit
 * columns of text. Needs the package csv-parse, which is a dependency of tapegrad.
 *
 * @param text the contents of a CSV file
 * @param options header, delimiter, missing values and choice of columns
 * @returns names of columns, and values of shape [rows, columns]
 * @throws TapegradError for lines with different numbers of fields, text without rows, unknown options or columns, and fields
 *   that are not numbers; the error names row and column
 * @example
 * ```ts
 * import { parseCsv } from 'tapegrad/io';
 *
 * const { columns, values } = await parseCsv('name,x,y\nfirst,1,2\nsecond,3,NA', { skip: ['name'] });
 * console.log(columns, values.toArraySync()); // ['x', 'y'] [[1, 2], [3, NaN]]
 * ```
 */
export async function parseCsv(text: string, options: CsvOptions = {}): Promise<CsvTable> {
  check(text, options);
  const { header = true, delimiter = ',', missing = ['', 'NA', 'NaN', 'nan', 'null'] } = options;
  const { parse } = await import('csv-parse/sync');
  let records: string[][];
  try {
    records = parse(text, { delimiter, bom: true, skip_empty_lines: true, trim: true });
  } catch (cause) {
    fail('parseCsv', (cause as Error).message, 'every line must have the same number of fields', { cause });
  }
  const names = (header ? records.shift() : records[0]?.map((_, i) => String(i))) ?? [];
  if (records.length === 0) fail('parseCsv', 'there are no rows', 'check the file and the header option');
  const places = choose(names, options);
  const values = new Float32Array(records.length * places.length);
  records.forEach((record, r) => {
    places.forEach((c, j) => {
      const field = record[c];
      const value = missing.includes(field) ? NaN : field === '' ? undefined : Number(field);
      if (value === undefined || (Number.isNaN(value) && !missing.includes(field))) {
        const name = describe(names[c]);
        fail(
          'parseCsv',
          `row ${r}, column ${name} is ${describe(field)}`,
          `only numbers become tensors: leave the column out with { skip: [${name}] }, choose others with { columns: […] }, encode text as numbers, or list it under missing`,
        );
      }
      values[r * places.length + j] = value;
    });
  });
  const columns = places.map((c) => names[c]);
  return { columns, values: tensor(values, { shape: [records.length, columns.length] }) };
}

/**
 * Reads a CSV file in UTF-8; see {@link parseCsv}.
 *
 * @param path the file name
 * @param options header, delimiter, missing values and choice of columns
 * @returns names of columns, and values of shape [rows, columns]
 * @throws TapegradError as parseCsv, and if the file cannot be read
 * @example
 * ```ts
 * import { writeFileSync } from 'node:fs';
 * import { readCsv } from 'tapegrad/io';
 *
 * writeFileSync('table.csv', 'x;y\n1;2\n');
 * const { values } = await readCsv('table.csv', { delimiter: ';' });
 * console.log(values.shape); // [1, 2]
 * ```
 */
export async function readCsv(path: string, options: CsvOptions = {}): Promise<CsvTable> {
  return parseCsv(new TextDecoder().decode(await readFile('readCsv', path)), options);
}

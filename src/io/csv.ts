import { tensor } from '../create.js';
import { checkOptions, describe, fail } from '../errors.js';
import type { Tensor } from '../methods.js';
import { readFile } from './files.js';

export interface CsvOptions {
  /** Whether the first line holds the columns' names. Default true. */
  header?: boolean;
  /** Default ','. */
  delimiter?: string;
  /** Texts that stand for a gap and become NaN. Default '', 'NA', 'NaN', 'nan', 'null'. */
  missing?: readonly string[];
}

export interface CsvTable {
  /** The columns' names; '0', '1' … without a header. */
  columns: string[];
  /** The numbers, [rows, columns]. */
  values: Tensor;
}

/** The numbers in CSV text (RFC 4180). @throws TapegradError for ragged lines, no lines, and texts that are no numbers, naming where */
export async function parseCsv(text: string, options: CsvOptions = {}): Promise<CsvTable> {
  checkOptions('parseCsv', options, ['header', 'delimiter', 'missing']);
  const { header = true, delimiter = ',', missing = ['', 'NA', 'NaN', 'nan', 'null'] } = options;
  const { parse } = await import('csv-parse/sync');
  let records: string[][];
  try {
    records = parse(text, { delimiter, bom: true, skip_empty_lines: true, trim: true });
  } catch (cause) {
    fail('parseCsv', (cause as Error).message, 'every line must have the same number of fields', { cause });
  }
  const columns = (header ? records.shift() : records[0]?.map((_, i) => String(i))) ?? [];
  if (records.length === 0) fail('parseCsv', 'there are no lines of numbers', 'check the file and the header option');
  const values = new Float32Array(records.length * columns.length);
  records.forEach((record, r) => {
    record.forEach((field, c) => {
      const value = missing.includes(field) ? NaN : field === '' ? undefined : Number(field);
      if (value === undefined || (Number.isNaN(value) && !missing.includes(field))) {
        fail(
          'parseCsv',
          `row ${r}, column '${columns[c]}' is ${describe(field)}`,
          'only numbers become tensors; encode texts as numbers, or list them under missing',
        );
      }
      values[r * columns.length + c] = value;
    });
  });
  return { columns, values: tensor(values, { shape: [records.length, columns.length] }) };
}

/** Reads a CSV file in UTF-8. @throws TapegradError as parseCsv, and if the file cannot be read */
export async function readCsv(path: string, options: CsvOptions = {}): Promise<CsvTable> {
  return parseCsv(new TextDecoder().decode(await readFile('readCsv', path)), options);
}

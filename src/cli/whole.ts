import { InvalidArgumentError } from 'commander';

/** The value of an option that is a whole number. */
export function whole(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('it is no whole number');
  return Number(text);
}

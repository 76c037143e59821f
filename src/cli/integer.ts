import { InvalidArgumentError } from 'commander';

/** Parses the value of an option that is an integer of at least 0. */
export function integer(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('it is not an integer');
  return Number(text);
}

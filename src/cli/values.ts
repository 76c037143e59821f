import { InvalidArgumentError } from 'commander';

/** Parses the value of an option that is an integer of at least 0. */
export function integer(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('it is not an integer');
  return Number(text);
}

/** Parses the value of an option that is a number from 0 to 1. */
export function fraction(text: string): number {
  if (!/^(0|1|0?\.\d+|1\.0*)$/.test(text)) throw new InvalidArgumentError('it is not a number from 0 to 1');
  return Number(text);
}

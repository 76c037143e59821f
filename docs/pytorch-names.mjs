// Writes docs/pytorch.md: the names of PyTorch and ours, from the docstrings, which say "As torch.x" or "Same as torch.x".
//   npm run docs:names
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = new URL('..', import.meta.url);
const entries = { tapegrad: 'src/index.ts', 'tapegrad/io': 'src/io/index.ts' };
const counterpart = /\b(?:[Aa]s|[Ss]ame as|name of)\s+\[?((?:torch|numpy)(?:\.\w+)+)\]?(?:\((https:[^)\s]+)\))?/;

/** The public items of the package whose docstring names a counterpart: [name of PyTorch, address or undefined, our name]. */
export function counterparts() {
  const paths = Object.values(entries).map((file) => fileURLToPath(new URL(file, root)));
  const { config } = ts.readConfigFile(fileURLToPath(new URL('tsconfig.json', root)), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, fileURLToPath(root));
  const program = ts.createProgram(paths, options);
  const checker = program.getTypeChecker();
  const found = [];

  const note = (symbol, name) => {
    const text = ts.displayPartsToString(symbol.getDocumentationComment(checker)).replaceAll(/\s+/g, ' ');
    const match = counterpart.exec(text);
    if (match) found.push([match[1], match[2], name]);
  };
  const visit = (exported, prefix) => {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    const name = `${prefix}${exported.name}`;
    if (symbol.flags & ts.SymbolFlags.ValueModule) {
      for (const member of checker.getExportsOfModule(symbol)) visit(member, `${name}.`);
      return;
    }
    note(symbol, name);
    if (name !== 'Tensor') return;
    for (const member of checker.getDeclaredTypeOfSymbol(symbol).getProperties()) note(member, `Tensor.${member.name}`);
  };
  for (const path of paths) {
    const module = checker.getSymbolAtLocation(program.getSourceFile(path));
    for (const exported of checker.getExportsOfModule(module)) visit(exported, '');
  }
  return found;
}

/** The page: a table for each part of PyTorch. */
export function page() {
  const parts = new Map();
  for (const item of counterparts()) {
    const part = item[0].split('.').slice(0, -1).join('.');
    parts.set(part, [...(parts.get(part) ?? []), item]);
  }
  const row = ([name, address, own]) => `| ${address ? `[\`${name}\`](${address})` : `\`${name}\``} | \`${own}\` |`;
  const order = ([a], [b]) => (a < b ? -1 : a > b ? 1 : 0);
  const tables = [...parts].sort(order).map(([part, items]) => {
    const rows = items.sort((a, b) => order(a, b) || (a[2] < b[2] ? -1 : 1)).map(row);
    return `## ${part}\n\n| PyTorch | tapegrad |\n| --- | --- |\n${rows.join('\n')}\n`;
  });
  return `# PyTorch names

What PyTorch (and here and there NumPy) calls a thing, and what it is called here. Positional arguments are PyTorch's required
ones; everything else is one object of options in camelCase. State dicts have PyTorch's keys and layouts.

This page is written by \`npm run docs:names\` from the docstrings.

${tables.join('\n')}`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('docs/pytorch.md', root), page());
}

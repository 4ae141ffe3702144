/**
 * What the rules need to know of a module's text. Vite's parser reads TypeScript; no type checker is asked, so a rule sees
 * `import type` as well as what runs.
 */
import { parseAst } from 'vitest/node';

export interface ParsedModule {
  /** Specifiers of import and export declarations, dynamic imports, import types, and literal `import.meta.resolve`/`require.resolve` calls. */
  readonly imports: readonly string[];
  readonly hasDefaultExport: boolean;
  /** Nothing in it but re-exports, directly or through imports. */
  readonly isBarrel: boolean;
  /** Names of exported declarations. */
  readonly exportedNames: readonly string[];
}

interface Node {
  readonly type: string;
  readonly [key: string]: unknown;
}

export function parseModule(text: string): ParsedModule {
  const body = parseAst(text, { lang: 'ts' }).body as unknown as readonly Node[];
  const imports: string[] = [];
  for (const node of body) visit(node, (inner) => collectSpecifier(inner, imports));
  return {
    imports,
    hasDefaultExport: body.some(isDefaultExport),
    isBarrel: isBarrel(body),
    exportedNames: body.flatMap(declaredNames),
  };
}

function visit(node: Node, see: (node: Node) => void): void {
  see(node);
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? (value as readonly unknown[]) : [value]) {
      if (isNode(child)) visit(child, see);
    }
  }
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';
}

const declarationTypes = new Set([
  'ImportDeclaration',
  'ExportNamedDeclaration',
  'ExportAllDeclaration',
  'ImportExpression',
  'TSImportType',
]);

function collectSpecifier(node: Node, into: string[]): void {
  const specifier = declarationTypes.has(node.type) ? literal(node['source'] ?? node['argument']) : resolvedLiteral(node);
  if (specifier !== undefined) into.push(specifier);
}

function resolvedLiteral(node: Node): string | undefined {
  if (node.type !== 'CallExpression' || !isNode(node['callee']) || node['callee'].type !== 'MemberExpression') return undefined;
  const property = node['callee']['property'];
  if (!isNode(property) || property['name'] !== 'resolve') return undefined;
  const object = node['callee']['object'];
  if (!isNode(object) || !(object.type === 'MetaProperty' || object['name'] === 'require')) return undefined;
  return literal((node['arguments'] as readonly unknown[])[0]);
}

function literal(value: unknown): string | undefined {
  if (!isNode(value)) return undefined;
  if (value.type === 'TSLiteralType') return literal(value['literal']);
  return typeof value['value'] === 'string' ? value['value'] : undefined;
}

function isDefaultExport(node: Node): boolean {
  if (node.type === 'ExportDefaultDeclaration') return true;
  if (node.type !== 'ExportNamedDeclaration') return false;
  return (node['specifiers'] as readonly Node[]).some(
    (specifier) => isNode(specifier['exported']) && nameOf(specifier['exported']) === 'default',
  );
}

function isBarrel(body: readonly Node[]): boolean {
  const exports = body.filter((node) => node.type !== 'ImportDeclaration');
  const reexports = exports.filter(
    (node) => node.type === 'ExportAllDeclaration' || (node.type === 'ExportNamedDeclaration' && !isNode(node['declaration'])),
  );
  return exports.length > 0 && reexports.length === exports.length;
}

function declaredNames(node: Node): string[] {
  const declaration = node.type === 'ExportNamedDeclaration' ? node['declaration'] : undefined;
  if (!isNode(declaration)) return [];
  if (isNode(declaration['id'])) return [nameOf(declaration['id'])];
  const declarators = (declaration['declarations'] ?? []) as readonly Node[];
  return declarators.map(({ id }) => (isNode(id) ? nameOf(id) : ''));
}

function nameOf(node: Node): string {
  const name = node['name'] ?? node['value'];
  return typeof name === 'string' ? name : '';
}

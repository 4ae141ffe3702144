import { HoldfastError } from '@holdfast/errors/holdfast-error';
import { invariant } from '@holdfast/errors/invariant';

import { bytesOfName, nameOfBytes } from './file-name.ts';
import { encodeGoJson, encodeGoString } from './go-json.ts';
import { quoteName, unquoteName } from './go-quote.ts';
import { JsonFields } from './json-fields.ts';
import type { ObjectId } from './object-id.ts';
import { encodeTimestamp } from './timestamp.ts';

/**
 * Node: one file, folder, link or device in a tree, as a JSON object. Its bytes are part of the tree's id, so the order of fields, what
 * is left out when it is zero and every escape are those of restic's struct under Go's encoding/json: see internal/data/node.go there.
 */
export const nodeTypes = ['file', 'dir', 'symlink', 'dev', 'chardev', 'fifo', 'socket', 'irregular'] as const;

export type NodeType = (typeof nodeTypes)[number];

/** Times are nanoseconds since 1970. A count or number that is absent is zero. */
export interface TreeNode {
  /** A byte of a name or link target that is not UTF-8 stands as U+DC80 … U+DCFF: see file-name.ts. */
  readonly name: string;
  readonly type: NodeType;
  /** Go's os.FileMode: see file-mode.ts. */
  readonly mode: number;
  readonly modifiedNs: bigint;
  readonly accessedNs: bigint;
  readonly changedNs: bigint;
  /**
   * Minutes east of UTC in which the times are written (modified, accessed, changed); absent for UTC. It is part of the tree's id and
   * else means nothing: restic writes the zone of its process.
   */
  readonly zoneMinutes?: readonly [number, number, number];
  readonly uid: number;
  readonly gid: number;
  readonly user?: string;
  readonly group?: string;
  readonly inode?: bigint;
  /** Newer versions of restic store it only for files with more than one link. */
  readonly deviceId?: bigint;
  readonly sizeBytes?: number;
  readonly linkCount?: bigint;
  readonly linkTarget?: string;
  readonly extendedAttributes?: ReadonlyMap<string, Uint8Array>;
  /** Attributes of other operating systems, such as `windows.file_attributes`: kept as they are. */
  readonly genericAttributes?: Readonly<Record<string, unknown>>;
  /** For dev and chardev: the device that the node stands for. */
  readonly device?: bigint;
  /** Ids of data blobs, in order, for a file ([] when it is empty); null for everything else. */
  readonly content: readonly ObjectId[] | null;
  /** Id of a tree blob, for a folder. */
  readonly subtree?: ObjectId;
  /** What restic could not read of the node. */
  readonly error?: string;
}

const maxUint32 = 2 ** 32 - 1;

/** The node's JSON. Errors: internal for a name that no folder can hold. */
export function encodeNode(node: TreeNode): string {
  let text = encodeNodeStart(node);
  if (node.linkTarget) text += encodeLinkTarget(node.linkTarget);
  if (node.extendedAttributes?.size) text += `,"extended_attributes":${encodeExtendedAttributes(node.extendedAttributes)}`;
  if (node.genericAttributes) text += encodeGenericAttributes(node.genericAttributes);
  if (node.device) text += `,"device":${node.device}`;
  text += `,"content":${node.content ? encodeIds(node.content) : 'null'}`;
  if (node.subtree) text += `,"subtree":"${node.subtree}"`;
  if (node.error) text += `,"error":${encodeGoString(node.error)}`;
  return flat(`${text}}`);
}

/**
 * The same text in one piece. V8 keeps the pieces of a sum of strings until somebody looks into it, and they take three times the memory:
 * a backup holds the nodes of many folders at once.
 */
function flat(text: string): string {
  text.charCodeAt(0);
  return text;
}

/** The JSON up to the link count: what stat(2) tells. */
export function encodeNodeStart(node: TreeNode): string {
  invariant(isNodeName(node.name), 'a node name is empty, a dot folder, or holds a slash or NUL');
  const [modifiedZone, accessedZone, changedZone] = node.zoneMinutes ?? [0, 0, 0];
  let text = `{"name":${encodeNodeName(node.name)},"type":"${node.type}"`;
  if (node.mode !== 0) text += `,"mode":${node.mode}`;
  text += `,"mtime":"${encodeTimestamp(node.modifiedNs, modifiedZone)}"`;
  text += `,"atime":"${encodeTimestamp(node.accessedNs, accessedZone)}"`;
  text += `,"ctime":"${encodeTimestamp(node.changedNs, changedZone)}"`;
  text += `,"uid":${node.uid},"gid":${node.gid}`;
  if (node.user) text += `,"user":${encodeGoString(node.user)}`;
  if (node.group) text += `,"group":${encodeGoString(node.group)}`;
  if (node.inode) text += `,"inode":${node.inode}`;
  if (node.deviceId) text += `,"device_id":${node.deviceId}`;
  if (node.sizeBytes) text += `,"size":${node.sizeBytes}`;
  if (node.linkCount) text += `,"links":${node.linkCount}`;
  return text;
}

/** The JSON of a name. */
export function encodeNodeName(name: string): string {
  return encodeGoString(quoteName(name));
}

function encodeLinkTarget(target: string): string {
  const field = `,"linktarget":${encodeGoString(target)}`;
  if (target.isWellFormed()) return field;
  return `${field},"linktarget_raw":"${Buffer.from(bytesOfName(target)).toString('base64')}"`;
}

function encodeExtendedAttributes(attributes: ReadonlyMap<string, Uint8Array>): string {
  return `[${[...attributes].map(encodeExtendedAttribute).join(',')}]`;
}

const encodeExtendedAttribute = ([name, value]: [string, Uint8Array]): string =>
  `{"name":${encodeGoString(name)},"value":"${Buffer.from(value).toString('base64')}"}`;

function encodeGenericAttributes(attributes: Readonly<Record<string, unknown>>): string {
  // Go sorts the keys of a map; the values are kept as they were read.
  const entries = Object.entries(attributes).toSorted(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  return entries.length === 0 ? '' : `,"generic_attributes":${encodeGoJson(Object.fromEntries(entries))}`;
}

const encodeIds = (ids: readonly ObjectId[]): string => (ids.length === 0 ? '[]' : `["${ids.join('","')}"]`);

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** The node in a parsed JSON value. Errors: repository_damaged, also for a name that would lead out of its folder. */
export function decodeNode(value: unknown): TreeNode {
  const fields = new JsonFields(value, 'a tree node');
  const name = unquoteName(fields.string('name'));
  if (name === null || !isNodeName(name)) throw fields.damaged('name', 'a file name');
  return decodeNamedNode(fields, name, decodeType(fields));
}

/** A node as it can be shown, of which nothing may be read or restored where one of the last two is there. */
export interface ShownNode {
  readonly node: TreeNode;
  /** The name of `node`, in place of one that leads out of its folder or is none. */
  readonly unsafeName?: string;
  /** What is written as the type; that of `node` is `irregular`. At most maxShownTypeLength characters of it. */
  readonly unknownType?: string;
}

/** A type is a word: what is longer was written to do harm. */
const maxShownTypeLength = 64;

/**
 * As decodeNode, for whoever only shows what is there: a name that leads out of its folder, or is none, comes in a form that holds no slash and is
 * no dot folder, and a type that this version does not know as `irregular`, without content and tree. Errors: repository_damaged.
 */
export function decodeShownNode(value: unknown): ShownNode {
  const fields = new JsonFields(value, 'a tree node');
  const written = fields.string('name');
  const name = unquoteName(written);
  if (name !== null && isNodeName(name)) return shownNode(fields, name);
  const shown = quoteName(name ?? written).replaceAll('/', String.raw`\x2f`);
  const unsafeName = /^\.*$/.test(shown) ? `(${shown || 'no name'})` : shown;
  return { ...shownNode(fields, unsafeName), unsafeName };
}

function shownNode(fields: JsonFields, name: string): ShownNode {
  const type = knownType(fields);
  if (type !== undefined) return { node: decodeNamedNode(fields, name, type) };
  const { subtree: _, ...node } = decodeNamedNode(fields, name, 'irregular');
  return { node: { ...node, content: null }, unknownType: fields.string('type').slice(0, maxShownTypeLength) };
}

function decodeNamedNode(fields: JsonFields, name: string, type: NodeType): TreeNode {
  const modified = fields.timestamp('mtime');
  const accessed = fields.timestamp('atime');
  const changed = fields.timestamp('ctime');
  const node: Writable<TreeNode> = {
    name,
    type,
    mode: fields.uint('mode', maxUint32),
    modifiedNs: modified.ns,
    accessedNs: accessed.ns,
    changedNs: changed.ns,
    uid: fields.uint('uid', maxUint32),
    gid: fields.uint('gid', maxUint32),
    content: fields.has('content') ? fields.ids('content') : null,
  };
  if (modified.zoneMinutes !== 0 || accessed.zoneMinutes !== 0 || changed.zoneMinutes !== 0) {
    node.zoneMinutes = [modified.zoneMinutes, accessed.zoneMinutes, changed.zoneMinutes];
  }
  decodeOptionalFields(fields, node);
  return node;
}

function decodeOptionalFields(fields: JsonFields, node: Writable<TreeNode>): void {
  if (fields.has('user')) node.user = fields.string('user');
  if (fields.has('group')) node.group = fields.string('group');
  if (fields.has('inode')) node.inode = fields.bigUint('inode');
  if (fields.has('device_id')) node.deviceId = fields.bigUint('device_id');
  if (fields.has('size')) node.sizeBytes = fields.uint('size');
  if (fields.has('links')) node.linkCount = fields.bigUint('links');
  if (fields.has('linktarget')) node.linkTarget = fields.string('linktarget');
  if (fields.has('linktarget_raw')) node.linkTarget = nameOfBytes(fields.bytes('linktarget_raw'));
  if (fields.has('extended_attributes')) node.extendedAttributes = decodeExtendedAttributes(fields);
  if (fields.has('generic_attributes')) node.genericAttributes = fields.object('generic_attributes');
  if (fields.has('device')) node.device = fields.bigUint('device');
  if (fields.has('subtree')) node.subtree = fields.id('subtree');
  if (fields.has('error')) node.error = fields.string('error');
}

function knownType(fields: JsonFields): NodeType | undefined {
  const text = fields.string('type');
  return nodeTypes.find((known) => known === text);
}

function decodeType(fields: JsonFields): NodeType {
  const type = knownType(fields);
  if (type === undefined) throw unknownTypeError(fields.string('type'));
  return type;
}

/** For whoever has to know what a node is. */
export function unknownTypeError(text: string): HoldfastError {
  return new HoldfastError('repository_damaged', `a tree node has the unknown type ${JSON.stringify(text)}`);
}

function decodeExtendedAttributes(fields: JsonFields): ReadonlyMap<string, Uint8Array> {
  const attributes = new Map<string, Uint8Array>();
  for (const value of fields.array('extended_attributes')) {
    const attribute = new JsonFields(value, 'an extended attribute');
    attributes.set(attribute.string('name'), attribute.bytes('value'));
  }
  return attributes;
}

/** A name that stands for something inside its folder: whoever restores joins it to a path. */
function isNodeName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('/') && !name.includes('\0');
}

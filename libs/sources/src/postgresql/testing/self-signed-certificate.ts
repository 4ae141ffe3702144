import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/**
 * A certificate that signs itself, as a test server needs one: X.509 version 3 in DER (RFC 5280), EC P-256, ECDSA with SHA-256, valid from
 * a day ago for ten years, for the one DNS name and IPv4 address given. It serves as its own authority.
 */
export interface SelfSignedCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

const dayMs = 24 * 60 * 60 * 1000;
const ecdsaWithSha256 = '2a8648ce3d040302';
const commonName = '550403';
const basicConstraints = '551d13';
const subjectAltName = '551d11';

export function makeSelfSignedCertificate(names: { dns: string; ip?: string }): SelfSignedCertificate {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = der(0x30, objectId(ecdsaWithSha256));
  const name = der(0x30, der(0x31, der(0x30, objectId(commonName), der(0x0c, Buffer.from(names.dns)))));
  const validity = der(0x30, time(Date.now() - dayMs), time(Date.now() + 3650 * dayMs));
  const altNames = [
    der(0x82, Buffer.from(names.dns)),
    ...(names.ip === undefined ? [] : [der(0x87, Buffer.from(names.ip.split('.').map(Number)))]),
  ];
  const extensions = [
    der(0x30, objectId(basicConstraints), der(0x01, Buffer.of(0xff)), der(0x04, der(0x30, der(0x01, Buffer.of(0xff))))),
    der(0x30, objectId(subjectAltName), der(0x04, der(0x30, ...altNames))),
  ];
  const body = der(
    0x30,
    der(0xa0, der(0x02, Buffer.of(2))),
    der(0x02, Buffer.concat([Buffer.of(1), randomBytes(15)])),
    algorithm,
    name,
    validity,
    name,
    keys.publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, der(0x30, ...extensions)),
  );
  const keyPem = keys.privateKey.export({ type: 'pkcs8', format: 'pem' });
  const signature = sign('sha256', body, keys.privateKey);
  const certificate = der(0x30, body, algorithm, der(0x03, Buffer.of(0), signature));
  const lines = certificate.toString('base64').match(/.{1,64}/gu) ?? [];
  return { certificatePem: ['-----BEGIN CERTIFICATE-----', ...lines, '-----END CERTIFICATE-----', ''].join('\n'), keyPem };
}

/** Tag, length, value. */
function der(tag: number, ...parts: Buffer[]): Buffer {
  const value = Buffer.concat(parts);
  if (value.length < 0x80) return Buffer.concat([Buffer.of(tag, value.length), value]);
  const length = Buffer.from(value.length.toString(16).padStart(value.length > 0xff ? 4 : 2, '0'), 'hex');
  return Buffer.concat([Buffer.of(tag, 0x80 | length.length), length, value]);
}

function objectId(hex: string): Buffer {
  return der(0x06, Buffer.from(hex, 'hex'));
}

/** UTCTime: YYMMDDhhmmssZ, good until 2049. */
function time(atMs: number): Buffer {
  const digits = new Date(atMs).toISOString().replaceAll(/[-:T]/gu, '').slice(2, 14);
  return der(0x17, Buffer.from(`${digits}Z`));
}

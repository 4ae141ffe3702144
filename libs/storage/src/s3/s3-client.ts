import { Readable } from 'node:stream';
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import type { HttpAgents } from '../remote/http-agents.ts';
import { bounded } from './s3-body.ts';
import { s3Endpoint, type S3Options, usesPathStyle } from './s3-options.ts';

/** A thousand objects with the longest of names, each letter of them written as six; errors have some hundred bytes. */
const maxAnswerSizeBytes = 16 * 1024 * 1024;

/** The SDK writes warnings to the console where it has no logger. */
const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/**
 * The SDK's client, with our connections and one try a call. Everything that it would read from the worker's environment or its files
 * is given, so that none of them can turn a tenant's request; without `keys` it finds the worker's own rights (instance_role).
 */
export function openS3Client(options: S3Options, keys: S3Keys | undefined, agents: HttpAgents): S3Client {
  const client = new S3Client({
    region: options.region,
    endpoint: s3Endpoint(options),
    forcePathStyle: usesPathStyle(options),
    ...(keys === undefined ? {} : { credentials: keys }),
    requestHandler: new NodeHttpHandler({
      httpAgent: agents.http,
      httpsAgent: agents.https,
      // The agents watch their sockets themselves.
      socketTimeout: 0,
      connectionTimeout: 0,
      requestTimeout: 0,
      logger: silent,
    }),
    logger: silent,
    maxAttempts: 1,
    // Else a server that does not answer to "100-continue" holds up each large put.
    expectContinueHeader: false,
    // The hash in the signature covers the body; what Amazon added later, many servers refuse.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    followRegionRedirects: false,
    ...nothingFromOutside,
  });
  client.middlewareStack.add(
    (next, context) => async (args) => {
      const result = await next(args);
      const { response } = result;
      // An object's bytes are counted where they are read.
      if (!hasBody(response) || (context['commandName'] === 'GetObjectCommand' && response.statusCode < 300)) return result;
      response.body = bounded(response.body, maxAnswerSizeBytes);
      return result;
    },
    // Behind the middleware that reads the answer.
    { step: 'deserialize', priority: 'low', name: 'boundedAnswer' },
  );
  return client;
}

const nothingFromOutside = {
  authSchemePreference: [],
  defaultsMode: 'standard',
  disableMultiregionAccessPoints: true,
  disableS3ExpressSessionAuth: true,
  ignoreConfiguredEndpointUrls: true,
  retryMode: 'standard',
  sigv4aSigningRegionSet: async () => undefined,
  useAccelerateEndpoint: false,
  useArnRegion: false,
  useDualstackEndpoint: false,
  useFipsEndpoint: false,
  userAgentAppId: async () => undefined,
} satisfies S3ClientConfig;

function hasBody(response: unknown): response is { statusCode: number; body: Readable } {
  if (typeof response !== 'object' || response === null) return false;
  return 'statusCode' in response && 'body' in response && response.body instanceof Readable;
}

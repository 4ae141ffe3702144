import {
  AnonymousCredential,
  ContainerClient,
  newPipeline,
  type StoragePipelineOptions,
  StorageSharedKeyCredential,
} from '@azure/storage-blob';
import type { HttpAgents } from '../remote/http-agents.ts';
import { azureBlobEndpoint, type AzureBlobOptions } from './azure-blob-options.ts';
import type { EntraTokens } from './azure-blob-token.ts';

/** What every request goes with. */
export type AzureBlobAccess = { readonly accountKey: string } | { readonly sasToken: string } | { readonly tokens: EntraTokens };

/** StoragePipelineOptions does not name these; the client hands all that it is given on to the pipeline that reads them. */
interface PipelineOptions extends StoragePipelineOptions {
  readonly agent: HttpAgents['http'] | HttpAgents['https'];
  readonly redirectOptions: { readonly maxRetries: number };
}

/**
 * Azure's client for a container, over our connections: each call is one try, no answer sends it to another place, and neither proxies nor
 * keys are looked for in the environment.
 */
export function azureContainerClient(options: AzureBlobOptions, access: AzureBlobAccess, agents: HttpAgents): ContainerClient {
  const endpoint = azureBlobEndpoint(options);
  const pipelineOptions: PipelineOptions = {
    retryOptions: { maxTries: 1 },
    agent: endpoint.startsWith('https:') ? agents.https : agents.http,
    redirectOptions: { maxRetries: 0 },
  };
  const url = `${endpoint}/${options.container}`;
  if ('tokens' in access) return new ContainerClient(url, newPipeline(access.tokens, pipelineOptions));
  if ('sasToken' in access) {
    return new ContainerClient(`${url}?${access.sasToken.replace(/^\?/u, '')}`, newPipeline(new AnonymousCredential(), pipelineOptions));
  }
  return new ContainerClient(url, newPipeline(new StorageSharedKeyCredential(options.account, access.accountKey), pipelineOptions));
}

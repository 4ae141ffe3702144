-- AlterTable
ALTER TABLE "backup_configs" ADD COLUMN     "adoptionKey" TEXT,
ALTER COLUMN "retentionDays" DROP NOT NULL;

-- AlterTable
ALTER TABLE "backup_jobs" ADD COLUMN     "adoptionJobId" TEXT;

-- CreateTable
CREATE TABLE "adoption_jobs" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "repositoryId" TEXT NOT NULL,
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

    CONSTRAINT "adoption_jobs_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "adoption_jobs_businessEntityId_createdAt_id_idx" ON "adoption_jobs"("businessEntityId", "createdAt", "id");

-- CreateIndex
CREATE INDEX "adoption_jobs_createdAt_id_idx" ON "adoption_jobs"("createdAt", "id");

-- CreateIndex
CREATE INDEX "adoption_jobs_repositoryId_idx" ON "adoption_jobs"("repositoryId");

-- CreateIndex
CREATE INDEX "adoption_jobs_status_idx" ON "adoption_jobs"("status");

-- CreateIndex
CREATE UNIQUE INDEX "backup_configs_repositoryId_adoptionKey_key" ON "backup_configs"("repositoryId", "adoptionKey");

-- CreateIndex
CREATE INDEX "backup_jobs_repositoryId_createdAt_id_idx" ON "backup_jobs"("repositoryId", "createdAt", "id");

-- AddForeignKey
ALTER TABLE "backup_jobs" ADD CONSTRAINT "backup_jobs_adoptionJobId_fkey" FOREIGN KEY ("adoptionJobId") REFERENCES "adoption_jobs"("id") ON DELETE SET NULL ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "adoption_jobs" ADD CONSTRAINT "adoption_jobs_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- AddForeignKey
ALTER TABLE "adoption_jobs" ADD CONSTRAINT "adoption_jobs_repositoryId_fkey" FOREIGN KEY ("repositoryId") REFERENCES "repositories"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- As in the other tables of runs.
ALTER TABLE "adoption_jobs"
    ADD CONSTRAINT "adoption_jobs_counts_check" CHECK ("attempt" >= 0 AND "fencingNumber" >= 0 AND "duration" >= 0),
    ADD CONSTRAINT "adoption_jobs_queued_check" CHECK ("status" <> 'queued' OR "queuedAt" IS NOT NULL),
    ADD CONSTRAINT "adoption_jobs_running_check"
        CHECK ("status" <> 'running' OR ("claimedBy" IS NOT NULL AND "heartbeatAt" IS NOT NULL AND "startTime" IS NOT NULL)),
    ADD CONSTRAINT "adoption_jobs_ended_check"
        CHECK (("status" IN ('completed', 'completed_with_warnings', 'failed', 'cancelled')) = ("endTime" IS NOT NULL)),
    ADD CONSTRAINT "adoption_jobs_failed_check" CHECK ("status" <> 'failed' OR "errorCode" IS NOT NULL);

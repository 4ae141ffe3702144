-- AlterTable
ALTER TABLE "backup_configs" ADD COLUMN     "sealedPartPasswords" JSONB NOT NULL DEFAULT '{}';

-- CreateTable
CREATE TABLE "application_freezes" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "backupConfigId" TEXT NOT NULL,
    "thaw" JSONB NOT NULL,
    "hostname" TEXT NOT NULL,
    "fencingNumber" BIGINT NOT NULL,
    "frozenAt" TIMESTAMPTZ(3) NOT NULL,
    "thawDueAt" TIMESTAMPTZ(3) NOT NULL,
    "failedCount" INTEGER NOT NULL DEFAULT 0,
    "lastError" TEXT,
    "retryAt" TIMESTAMPTZ(3),

    CONSTRAINT "application_freezes_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "application_freezes_retryAt_idx" ON "application_freezes"("retryAt");

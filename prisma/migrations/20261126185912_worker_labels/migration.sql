-- AlterTable
ALTER TABLE "adoption_jobs" ADD COLUMN     "waitingToldAt" TIMESTAMPTZ(3),
ADD COLUMN     "workerLabel" TEXT;

-- AlterTable
ALTER TABLE "backup_configs" ADD COLUMN     "workerLabel" TEXT;

-- AlterTable
ALTER TABLE "backup_jobs" ADD COLUMN     "waitingToldAt" TIMESTAMPTZ(3),
ADD COLUMN     "workerLabel" TEXT;

-- AlterTable
ALTER TABLE "backup_verifications" ADD COLUMN     "waitingToldAt" TIMESTAMPTZ(3),
ADD COLUMN     "workerLabel" TEXT;

-- AlterTable
ALTER TABLE "cleanup_jobs" ADD COLUMN     "waitingToldAt" TIMESTAMPTZ(3),
ADD COLUMN     "workerLabel" TEXT;

-- AlterTable
ALTER TABLE "copy_jobs" ADD COLUMN     "waitingToldAt" TIMESTAMPTZ(3),
ADD COLUMN     "workerLabel" TEXT;

-- AlterTable
ALTER TABLE "recovery_jobs" ADD COLUMN     "ownWorkerLabel" BOOLEAN NOT NULL DEFAULT false,
ADD COLUMN     "waitingToldAt" TIMESTAMPTZ(3),
ADD COLUMN     "workerLabel" TEXT;

-- AlterTable
ALTER TABLE "service_state" ADD COLUMN     "pausedLabels" TEXT[] DEFAULT ARRAY[]::TEXT[];

-- AlterTable
ALTER TABLE "worker_processes" ADD COLUMN     "labels" TEXT[] DEFAULT ARRAY[]::TEXT[],
ADD COLUMN     "labelsOnly" BOOLEAN NOT NULL DEFAULT false;

-- CreateTable
CREATE TABLE "worker_labels" (
    "label" TEXT NOT NULL,
    "lastServedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "worker_labels_pkey" PRIMARY KEY ("label")
);

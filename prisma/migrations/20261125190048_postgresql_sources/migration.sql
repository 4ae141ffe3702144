-- AlterTable
ALTER TABLE "backup_configs" ADD COLUMN     "sealedSourcePassword" TEXT;

-- AlterTable
ALTER TABLE "recovery_jobs" ADD COLUMN     "sealedTargetPassword" TEXT;

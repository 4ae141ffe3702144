-- AlterTable
ALTER TABLE "backup_configs" ADD COLUMN     "options" JSONB NOT NULL DEFAULT '{}';

-- AlterTable
ALTER TABLE "backup_verifications" ADD COLUMN     "options" JSONB;

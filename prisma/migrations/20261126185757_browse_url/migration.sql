-- AlterTable
ALTER TABLE "worker_processes" ADD COLUMN     "browseUrl" TEXT;

-- The table has no rows yet: no version so far accepted a config that keeps a slot.

-- CreateEnum
CREATE TYPE "SlotLevel" AS ENUM ('ok', 'warning', 'critical', 'lost');

-- AlterTable
ALTER TABLE "replication_slots" DROP CONSTRAINT "replication_slots_pkey",
ADD COLUMN     "baseConfigId" TEXT NOT NULL,
ADD COLUMN     "checkedAt" TIMESTAMPTZ(3),
ADD COLUMN     "connection" JSONB NOT NULL,
ADD COLUMN     "errorCode" TEXT,
ADD COLUMN     "id" TEXT NOT NULL,
ADD COLUMN     "level" "SlotLevel",
ADD COLUMN     "madeAt" TIMESTAMPTZ(3),
ADD COLUMN     "retainedBytes" BIGINT,
ADD COLUMN     "safeBytes" BIGINT,
ADD COLUMN     "sealedPassword" TEXT,
ADD COLUMN     "seenAt" TIMESTAMPTZ(3),
ADD COLUMN     "server" TEXT NOT NULL,
ADD COLUMN     "systemIdentifier" TEXT NOT NULL,
ADD COLUMN     "unwantedSince" TIMESTAMPTZ(3),
ADD COLUMN     "walStatus" TEXT,
ADD CONSTRAINT "replication_slots_pkey" PRIMARY KEY ("id");

-- CreateIndex
CREATE INDEX "replication_slots_systemIdentifier_name_idx" ON "replication_slots"("systemIdentifier", "name");

-- CreateIndex
CREATE INDEX "replication_slots_baseConfigId_idx" ON "replication_slots"("baseConfigId");

-- CreateIndex
CREATE UNIQUE INDEX "replication_slots_backupConfigId_server_name_key" ON "replication_slots"("backupConfigId", "server", "name");

-- AddForeignKey
ALTER TABLE "replication_slots" ADD CONSTRAINT "replication_slots_baseConfigId_fkey" FOREIGN KEY ("baseConfigId") REFERENCES "backup_configs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

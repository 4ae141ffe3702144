-- CreateTable
CREATE TABLE "replication_slots" (
    "backupConfigId" TEXT NOT NULL,
    "name" TEXT NOT NULL,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT "replication_slots_pkey" PRIMARY KEY ("backupConfigId")
);

-- AddForeignKey
ALTER TABLE "replication_slots" ADD CONSTRAINT "replication_slots_backupConfigId_fkey" FOREIGN KEY ("backupConfigId") REFERENCES "backup_configs"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

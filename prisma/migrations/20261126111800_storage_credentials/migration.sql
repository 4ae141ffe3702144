-- AlterTable
ALTER TABLE "repositories" ADD COLUMN     "sealedStorageCredentials" TEXT,
ADD COLUMN     "storageCredentialsPlace" TEXT;

-- CreateTable
CREATE TABLE "storage_tests" (
    "id" TEXT NOT NULL,
    "businessEntityId" TEXT NOT NULL,
    "repositoryId" TEXT,
    "storageOptions" JSONB NOT NULL,
    "sealedCredentials" TEXT,
    "credentialsPlace" TEXT,
    "result" JSONB,
    "createdAt" TIMESTAMPTZ(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "finishedAt" TIMESTAMPTZ(3),

    CONSTRAINT "storage_tests_pkey" PRIMARY KEY ("id")
);

-- CreateIndex
CREATE INDEX "storage_tests_createdAt_idx" ON "storage_tests"("createdAt");

-- AddForeignKey
ALTER TABLE "storage_tests" ADD CONSTRAINT "storage_tests_businessEntityId_fkey" FOREIGN KEY ("businessEntityId") REFERENCES "business_entities"("id") ON DELETE RESTRICT ON UPDATE CASCADE;

-- CreateTable
CREATE TABLE "service_state" (
    "id" INTEGER NOT NULL DEFAULT 1,
    "isPaused" BOOLEAN NOT NULL,
    "updatedAt" TIMESTAMPTZ(3) NOT NULL,

    CONSTRAINT "service_state_pkey" PRIMARY KEY ("id")
);

-- There is one row and no other.
ALTER TABLE "service_state" ADD CONSTRAINT "service_state_one_row" CHECK ("id" = 1);

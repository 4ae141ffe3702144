import { openMemoryStorage } from './memory-storage.ts';
import { describeStorageContract } from './testing/storage-contract.ts';

describeStorageContract('memory', async () => ({ storage: openMemoryStorage(), dispose: async () => {} }));

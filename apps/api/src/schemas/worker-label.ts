import { isWorkerLabel, workerLabelMessage } from '@holdfast/policy/routing';
import { z } from 'zod';

/** A label that a run asks for. Its pattern is not told as one: the message says it better. */
export const workerLabelSchema = z.string().refine(isWorkerLabel, workerLabelMessage);

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  fencedCommands,
  finalStatuses,
  runCommands,
  runStateOf,
  runStates,
  runTransitions,
  type RunCommand,
  type RunState,
} from './run-states.ts';

const isFinalState = (state: RunState): boolean => (finalStatuses as readonly RunState[]).includes(state);
const isHeldState = (state: RunState): boolean => state === 'running' || state === 'cancelling';

/** Every cell of the table, said once more in another form. */
const expected: Record<RunState, string> = {
  //           start                 claim      commit          release         complete        warn                     fail            stop            request_cancel
  pending:
    'queued               same       run_superseded  run_superseded  run_superseded  run_superseded           run_superseded  run_superseded  cancelled',
  queued:
    'same                  running    run_superseded  run_superseded  run_superseded  run_superseded           run_superseded  run_superseded  cancelled',
  running:
    'same                 running    same            queued          completed       completed_with_warnings  failed          cancelled       cancelling',
  cancelling:
    'conflict          cancelled  run_cancelled   cancelled       completed       completed_with_warnings  failed          cancelled       same',
  completed:
    'run_already_finished same     run_superseded  run_superseded  run_superseded  run_superseded           run_superseded  run_superseded  run_already_finished',
  completed_with_warnings:
    'run_already_finished same run_superseded run_superseded run_superseded run_superseded run_superseded run_superseded run_already_finished',
  failed:
    'run_already_finished  same       run_superseded  run_superseded  run_superseded  run_superseded           run_superseded  run_superseded  run_already_finished',
  cancelled:
    'run_already_finished same     run_superseded  run_superseded  run_superseded  run_superseded           run_superseded  run_superseded  same',
};

function answerOf(state: RunState, command: RunCommand): string {
  const transition = runTransitions[state][command];
  return 'refused' in transition ? transition.refused : transition.to;
}

describe('the table of run states', () => {
  for (const state of runStates) {
    const answers = expected[state].split(/\s+/u);
    for (const [index, command] of runCommands.entries()) {
      test(`${state} × ${command} → ${answers[index]}`, () => {
        expect(answerOf(state, command)).toBe(answers[index]);
      });
    }
  }

  test('every move is told by an event named after where it leads', () => {
    for (const state of runStates) {
      for (const command of runCommands) {
        const transition = runTransitions[state][command];
        if ('refused' in transition || transition.to === 'same') continue;
        const retried = command === 'release' && transition.to === 'queued';
        const success = transition.to === 'completed_with_warnings' ? 'completed' : transition.to;
        expect(transition.event).toBe(retried ? 'retrying' : success);
      }
    }
  });
});

describe('any sequence of commands', () => {
  const histories = fc.array(fc.constantFrom(...runCommands), { maxLength: 40 });
  const walk = (commands: readonly RunCommand[]): RunState[] => {
    const states: RunState[] = ['pending'];
    for (const command of commands) {
      const from = states.at(-1) ?? 'pending';
      const answer = answerOf(from, command);
      states.push((runStates as readonly string[]).includes(answer) ? (answer as RunState) : from);
    }
    return states;
  };

  test('never leaves a final state', () => {
    fc.assert(
      fc.property(histories, (commands) => {
        const states = walk(commands);
        const end = states.findIndex(isFinalState);
        expect(end === -1 || states.slice(end).every((state) => state === states[end])).toBe(true);
      }),
    );
  });

  test('is held by a worker before it completes, fails or is committed', () => {
    fc.assert(
      fc.property(histories, (commands) => {
        const states = walk(commands);
        for (const [index, state] of states.entries()) {
          if (state === 'completed' || state === 'completed_with_warnings' || state === 'failed') {
            expect(isHeldState(states[index - 1] ?? 'pending') || states[index - 1] === state).toBe(true);
          }
        }
      }),
    );
  });

  test('can always be ended: by a claim and its end, or by a cancel', () => {
    fc.assert(
      fc.property(histories, (commands) => {
        expect(isFinalState(walk([...commands, 'start', 'claim', 'complete']).at(-1) ?? 'pending')).toBe(true);
        expect(isFinalState(walk([...commands, 'request_cancel', 'stop']).at(-1) ?? 'pending')).toBe(true);
      }),
    );
  });
});

test('fenced commands move nothing that is not held', () => {
  for (const state of runStates.filter((each) => !isHeldState(each))) {
    for (const command of fencedCommands) expect(answerOf(state, command)).toBe('run_superseded');
  }
});

test('a running row that is to be cancelled is cancelling, others are what they say', () => {
  expect(runStateOf({ status: 'running', cancelRequestedAt: new Date(0) })).toBe('cancelling');
  expect(runStateOf({ status: 'running', cancelRequestedAt: null })).toBe('running');
  expect(runStateOf({ status: 'cancelled', cancelRequestedAt: new Date(0) })).toBe('cancelled');
});

import { expect, test } from 'vitest';
import { welcomeText } from './welcome.ts';

const checkout = { root: '/srv/hold fast', stateFolder: '/srv/hold fast/.holdfast', apiMain: '', workerMain: '' };
const made = { configId: 'c1', repositoryId: 'r1', repositoryFolder: '/srv/repositories/demo' };

test('the commands name the checkout, the addresses and what the tour made', () => {
  const text = welcomeText({ checkout, apiUrl: 'http://127.0.0.1:8080', made });
  expect(text).toContain(`TOKEN=$(npm --prefix '/srv/hold fast' --silent run holdfast -- token)`);
  expect(text).toContain(`'{"backupConfigId":"c1"}' http://127.0.0.1:8080/api/backup/jobs`);
  expect(text).toContain(`password  npm --prefix '/srv/hold fast' --silent run holdfast -- repository-password r1`);
  expect(text.match(/ curl /g)).toHaveLength(3);
});

test('another state folder is named too, and without a tour there is no repository to tell of', () => {
  const text = welcomeText({
    checkout: { ...checkout, stateFolder: '/var/lib/holdfast' },
    apiUrl: 'http://127.0.0.1:8080',
    made: undefined,
  });
  expect(text).toContain(`TOKEN=$(HOLDFAST_STATE_DIR=/var/lib/holdfast npm --prefix`);
  expect(text).not.toContain('repository');
});

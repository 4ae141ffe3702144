// What every script of package.json calls: makes the checkout ready, then hands over to the pinned Node.
//   node scripts/run.mjs holdfast <words>   the holdfast command
//   node scripts/run.mjs check <words>      scripts/check.ts or scripts/check.mjs
//   node scripts/run.mjs bench:engine       scripts/bench-engine/main.ts
//   node scripts/run.mjs bench:postgres     scripts/bench-postgres/main.ts
//   node scripts/run.mjs bench:storage      scripts/bench-storage/main.ts
//   node scripts/run.mjs bench:types        scripts/bench-types/main.ts
//   node scripts/run.mjs <tool> <words>     a tool from node_modules/.bin
// This file keeps to syntax that an old Node can read, so that its complaint is a sentence and not a stack trace.

var oldestNode = [20, 19];

var version = process.versions.node.split('.').map(Number);
if (version[0] < oldestNode[0] || (version[0] === oldestNode[0] && version[1] < oldestNode[1])) {
  console.error(
    'holdfast: this is Node ' +
      process.versions.node +
      ', and ' +
      oldestNode.join('.') +
      ' or newer is needed to start (https://nodejs.org)',
  );
  process.exit(1);
}

void import('./run/run-command.mjs').then(function (module) {
  return module.runCommand(process.argv.slice(2));
});

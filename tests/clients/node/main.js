'use strict';

const fs = require('node:fs');
const path = require('node:path');
const cases = {
  ...require('./cases'),
  ...(process.env.LADDERS === '1' ? require('./ladders') : {}),
};
const { Scope, within } = require('./harness');

const DEFAULT_LIMIT_MS = 30_000;

function clientVersion() {
  const root = path.dirname(require.resolve('amqplib'));
  return JSON.parse(fs.readFileSync(path.join(root, 'package.json'))).version;
}

async function runCase({ body, limit = DEFAULT_LIMIT_MS }) {
  const scope = new Scope();
  try {
    await within(limit, 'case', body(scope));
  } finally {
    await within(DEFAULT_LIMIT_MS, 'clean-up', scope.end());
  }
}

async function main() {
  const only = process.argv.slice(2);
  let failed = 0;
  console.log(`client amqplib ${clientVersion()}`);
  for (const [name, entry] of Object.entries(cases)) {
    if (only.length > 0 && !only.includes(name)) continue;
    try {
      await runCase(entry);
      console.log(`ok ${name}`);
    } catch (err) {
      failed += 1;
      console.log(`not ok ${name} - ${String(err.message).replace(/\s+/g, ' ')}`);
      console.error(err);
    }
  }
  process.exit(failed === 0 ? 0 : 1);
}

process.on('unhandledRejection', (err) => console.error('unhandled rejection:', err));
main();

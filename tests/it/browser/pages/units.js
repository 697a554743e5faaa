// Runs every case against the client that the server serves, and shows what became of each.

import { run } from './bench.js';
import './connection.js';
import './topics.js';
import './lists.js';
import './reads.js';

const { connect } = await import(`${new URLSearchParams(location.search).get('api')}/client.js`);

window.results = run(connect).then((results) => {
  for (const { name, failure } of results) {
    const line = Object.assign(document.createElement('li'), { textContent: failure ? `${name}: ${failure}` : name });
    document.getElementById('results').append(line);
  }
  return results;
});

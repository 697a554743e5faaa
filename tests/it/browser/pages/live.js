// A page as an application would write it: a list on the screen, notices, and a record of everything that it was told.

const violations = [];
document.addEventListener('securitypolicyviolation', ({ violatedDirective: what, blockedURI: of }) => violations.push(`${what} ${of}`));

const config = Object.fromEntries(new URLSearchParams(location.search));
const { connect } = await import(`${config.api}/client.js`);

const page = { violations, addresses: [location.href], sockets: 0, tokens: 0, statuses: [], seen: {}, frames: [] };
const show = (id, text) => (document.getElementById(id).textContent = text);
const add = (id, text) => document.getElementById(id).append(Object.assign(document.createElement('li'), { textContent: text }));

class Counted extends WebSocket {
  constructor(...given) {
    super(...given);
    page.addresses.push(...given);
    page.sockets += 1;
  }
}

async function getToken() {
  page.tokens += 1;
  const answer = await fetch(`/token?who=${config.who}`);
  return (await answer.json()).token;
}

function onStatus(status, reason) {
  page.statuses.push(status);
  show('status', status);
  show('reason', reason || '');
}

const backoff = { min: 50, max: 400 };
const client = connect({ url: config.api, getToken, onStatus, backoff, WebSocket: Counted });
client.onNotice((notice) => add('notices', `${notice.level}: ${notice.text}`));

for (const topic of config.topics.split(',')) {
  page.seen[topic] = [];
  client.subscribe(
    topic,
    (frame) => {
      page.frames.push(frame);
      if (frame.type === 'event') page.seen[topic].push(frame.seq);
      add('told', `${topic}: ${frame.event || frame.type} ${frame.seq || frame.reason}`);
    },
    { after: 0 },
  );
}

if (config.list) {
  page.list = client.liveList({ topic: config.list, sort: (a, b) => a.display_name.localeCompare(b.display_name) });
  const render = () => {
    show('state', page.list.loading ? 'loading' : 'there');
    show('ended', page.list.error ? page.list.error.reason : '');
    document.getElementById('rows').replaceChildren();
    for (const row of page.list.getSnapshot()) add('rows', `${row.display_name} (${row.role || row.status})`);
  };
  page.list.subscribe(render);
  render();
}

page.client = client;
window.page = page;

// Run by headroom.ops.load.k6: requests at a constant arrival rate, and one JSON summary on stdout.
import http from 'k6/http';
import { sleep } from 'k6';
import { SharedArray } from 'k6/data';
import { Counter, Trend } from 'k6/metrics';
import { scenario } from 'k6/execution';

const order = JSON.parse(open(__ENV.HEADROOM_LOAD_ORDER));
const bodies = new SharedArray('bodies', () => JSON.parse(open(order.bodies)));
const latency = new Trend('latency');
const square = new Trend('latency_squared');
const counted = {};
for (const kind of ['accepted', 'refused', 'unknown', 'failed', 'silent']) counted[kind] = new Counter(kind);

const arrivals = (seconds, start, run) => ({
  executor: 'constant-arrival-rate',
  rate: order.rate_per_minute,
  timeUnit: '1m',
  duration: `${seconds}s`,
  startTime: `${start}s`,
  gracefulStop: `${Math.ceil(order.timeout_s + order.spread_s)}s`,
  preAllocatedVUs: order.clients,
  maxVUs: order.most_clients,
  exec: run,
});
// One client that waits for each answer: its requests never meet.
const alone = (seconds, start, run) => ({
  executor: 'constant-vus',
  vus: 1,
  duration: `${seconds}s`,
  startTime: `${start}s`,
  gracefulStop: `${Math.ceil(order.timeout_s)}s`,
  exec: run,
});
const made = order.one_client ? alone : arrivals;
const scenarios = { measured: made(order.seconds, order.warm_s, 'measured') };
if (order.warm_s > 0) scenarios.warm = { ...made(order.warm_s, 0, 'warm'), gracefulStop: '0s' };

export const options = {
  scenarios,
  discardResponseBodies: true,
  // A threshold that always holds: k6 sums a metric by scenario only where one asks for it.
  thresholds: { 'dropped_iterations{scenario:measured}': ['count>=0'] },
  summaryTrendStats: ['count', 'avg', 'med', 'p(95)', 'p(99)', 'max'],
};

const parameters = { headers: { 'Content-Type': 'application/json' }, timeout: `${order.timeout_s}s` };

function send() {
  // Each is displaced by chance within the spread: that makes an even row of arrivals a Poisson process, as many
  // clients that know nothing of each other are, and as the plan's queueing formula takes them to be.
  if (!order.one_client) sleep(Math.random() * order.spread_s);
  if (bodies.length === 0) return http.get(order.url, parameters);
  return http.post(order.url, bodies[scenario.iterationInTest % bodies.length], parameters);
}

export function warm() {
  send();
}

export function measured() {
  const answer = send();
  const kind =
    answer.status >= 200 && answer.status < 300 ? 'accepted'
      : answer.status === 503 ? 'refused'
        : answer.status === 404 ? 'unknown'
          : answer.status === 0 ? 'silent' : 'failed';
  counted[kind].add(1);
  if (kind === 'accepted') {
    // With what a new connection took, which `duration` leaves out.
    const took = answer.timings.blocked + answer.timings.duration;
    latency.add(took);
    square.add(took * took);
  }
}

export function handleSummary(data) {
  return { stdout: JSON.stringify(data.metrics) };
}

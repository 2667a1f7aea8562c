-- wrk: POST /predict for one entity of the sample after the other.
local number = 0
request = function()
  number = (number + 7) % 569
  local body = string.format('{"entity_id":"entity-%04d"}', number)
  return wrk.format("POST", "/predict", {["Content-Type"] = "application/json"}, body)
end
-- One line for the reader: requests, microseconds, p50 and p99 in microseconds, errors.
done = function(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("result %d %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), failed))
end

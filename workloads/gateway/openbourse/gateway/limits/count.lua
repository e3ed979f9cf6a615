-- Adds to counters, each in its window on Redis's clock, and says what they hold.
-- KEYS: counters. ARGV: for each an amount and the length of its window in milliseconds.
-- Reply: the time in milliseconds, then each counter; of one that a ban holds, minus the time when the ban ends.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = {now_ms}
for i, key in ipairs(KEYS) do
  local amount, window_ms = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
  local used = redis.call('INCRBY', key, amount)
  if used == amount then
    redis.call('PEXPIREAT', key, (math.floor(now_ms / window_ms) + 1) * window_ms)
  elseif used >= 4503599627370496 then
    used = -redis.call('PEXPIRETIME', key)
  end
  reply[i + 1] = used
end
return reply

-- Bans an address unless it is banned: its counter of weight becomes greater than any limit, for as long as it lasts.
-- KEYS: the counter, and how often the address was banned. ARGV: milliseconds of each ban, one longer than the other.
-- Reply: the time in milliseconds when the ban ends.
if tonumber(redis.call('GET', KEYS[1]) or 0) >= 4503599627370496 then
  return redis.call('PEXPIRETIME', KEYS[1])
end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local times = redis.call('INCR', KEYS[2])
local until_ms = now_ms + tonumber(ARGV[math.min(times, #ARGV)])
redis.call('SET', KEYS[1], '4503599627370496', 'PXAT', until_ms)
-- It is forgotten as long after its end as the longest lasts.
redis.call('PEXPIREAT', KEYS[2], until_ms + tonumber(ARGV[#ARGV]))
return until_ms

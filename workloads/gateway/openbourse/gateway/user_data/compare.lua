-- Compares the listen keys that a gateway knows. One that is not there at all was lost, and is put back.
-- KEYS: listen keys. ARGV: for each what is known of it, for how many milliseconds the gateway takes it for valid, and 1
-- if others do not know that yet. Reply: for how many milliseconds each is valid; 0: it is not.
local reply = {}
for i, key in ipairs(KEYS) do
  local known, left_ms, unsaved = ARGV[3 * i - 2], tonumber(ARGV[3 * i - 1]), ARGV[3 * i] == '1'
  local there = redis.call('GET', key)
  if there == '' then
    left_ms = 0
  elseif not there and left_ms > 0 then
    redis.call('SET', key, known, 'PX', left_ms)
    local account = string.match(known, '^%d+')
    redis.call('SET', 'openbourse:listening:' .. account, string.sub(key, #'openbourse:listen:' + 1), 'PX', left_ms, 'NX')
  elseif there then
    local there_ms = redis.call('PTTL', key)
    if unsaved and there_ms < left_ms then
      redis.call('PEXPIRE', key, left_ms)
    else
      left_ms = there_ms
    end
  end
  reply[i] = math.max(left_ms, 0)
end
return reply

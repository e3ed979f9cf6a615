-- Extends a listen key, or ends it for whoever knows it: what is ended is remembered, empty, as long as it was valid.
-- KEYS: the key, and which one the account has. ARGV: how what is known of the account's keys begins, and milliseconds; 0
-- ends it. Reply: 1, or 0 for a key that the account does not have.
local known = redis.call('GET', KEYS[1])
if not known or string.sub(known, 1, #ARGV[1]) ~= ARGV[1] then
  return 0
end
if tonumber(ARGV[2]) == 0 then
  redis.call('SET', KEYS[1], '', 'KEEPTTL')
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
end
return 1

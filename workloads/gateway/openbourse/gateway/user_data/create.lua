-- The account's listen key, valid anew; a new one if it has none.
-- KEYS: which one the account has. ARGV: a new key, what is known of it, milliseconds. Reply: the key.
local key = redis.call('GET', KEYS[1])
if not key or (redis.call('GET', 'openbourse:listen:' .. key) or '') == '' then
  key = ARGV[1]
end
redis.call('SET', 'openbourse:listen:' .. key, ARGV[2], 'PX', ARGV[3])
redis.call('SET', KEYS[1], key, 'PX', ARGV[3])
return key

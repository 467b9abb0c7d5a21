-- Forget versions of subjects, where they have not changed, and raise the horizon, up to which versions may be
-- forgotten.
-- KEYS: versions. ARGV: the horizon, then subjects and versions by turns.
-- Returns how many were forgotten; none where the log has no versions.
local call = redis.call
local versions = KEYS[1]
if not call('HGET', versions, '') then return 0 end
local horizon = tonumber(call('HGET', versions, 'sealed') or '0')
if tonumber(ARGV[1]) > horizon then call('HSET', versions, 'sealed', ARGV[1]) end
local gone = 0
for i = 2, #ARGV, 2 do
  if call('HGET', versions, ARGV[i]) == ARGV[i + 1] then gone = gone + call('HDEL', versions, ARGV[i]) end
end
return gone

-- Make a log that was filled beside its place the log of the namespace, if there is none yet.
-- KEYS: the filled log and versions, then those of the namespace. ARGV: the id that the filled log ends with.
-- Returns 1, or 0 where there is a log, or where the filled one is not whole (any more).
local call = redis.call
local last = call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if call('EXISTS', KEYS[3], KEYS[4]) > 0 or not last or last[1] ~= ARGV[1] or call('EXISTS', KEYS[2]) == 0 then
  return 0
end
for i = 1, 2 do
  call('RENAME', KEYS[i], KEYS[i + 2])
  call('PERSIST', KEYS[i + 2])
end
return 1

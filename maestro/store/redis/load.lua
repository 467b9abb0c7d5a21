-- Make an imported log, filled under temporary keys, the log of the namespace, if there is none yet.
-- KEYS: the temporary log and versions, then those of the namespace. ARGV: the id of the imported log's last entry.
-- Returns 1, or 0 where the namespace has a log, or where the imported one is not complete (any more).
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

-- Make versions that were gathered beside their place those of the log, if it ends where they were gathered from.
-- KEYS: the gathered versions, the log, its versions. ARGV: the id that the log ends with, '' where it has no entries.
-- Returns 1, or 0 where the log ends elsewhere, or where what was gathered is gone.
local call = redis.call
local last = call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if (last and last[1] or '') ~= ARGV[1] then return 0 end
if not last then
  call('DEL', KEYS[3])
  return 1
end
if call('EXISTS', KEYS[1]) == 0 then return 0 end
call('RENAME', KEYS[1], KEYS[3])
call('PERSIST', KEYS[3])
return 1

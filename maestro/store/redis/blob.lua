-- Store a blob and record the time of the put in server time; or delete blobs that were put before a given age.
-- KEYS: put times, then blobs. ARGV: the blob's name and content, or 'collect', age in ms, and the names of KEYS[2...].
-- Returns how many blobs were stored or deleted. A put-times key of a wrong type is renamed out of the way.
local call = redis.call
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kind = call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then call('RENAME', KEYS[1], KEYS[1] .. ':aside') end
if ARGV[1] ~= 'collect' then
  call('SET', KEYS[2], ARGV[2])
  call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
  return 1
end
local deleted = 0
for i = 2, #KEYS do
  local put = tonumber(call('ZSCORE', KEYS[1], ARGV[i + 1]))
  -- A blob that was put again since the caller looked is about to be named by an event.
  if put and put <= now - tonumber(ARGV[2]) then
    call('ZREM', KEYS[1], ARGV[i + 1])
    deleted = deleted + call('UNLINK', KEYS[i])
  end
end
return deleted

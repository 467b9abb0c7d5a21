-- Replace the log and the versions of a namespace by repaired ones, if they did not change since they were read.
-- KEYS: the repaired log and versions (both missing where nothing is left), then those of the namespace.
-- ARGV: the id of the log's last entry when it was read, '' for none; how many entries it had; '1' to replace log and
-- versions, '' to replace the versions only.
-- Returns 1, or 0 where the log's end or length changed, or the repaired log is gone.
local call = redis.call
if call('TYPE', KEYS[3]).ok == 'stream' then
  local last = call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
  if (last and last[1] or '') ~= ARGV[1] or call('XLEN', KEYS[3]) ~= tonumber(ARGV[2]) then return 0 end
elseif ARGV[1] ~= '' then
  return 0
end
if ARGV[3] == '1' and call('EXISTS', KEYS[1]) ~= call('EXISTS', KEYS[2]) then return 0 end
for i = ARGV[3] == '1' and 1 or 2, 2 do
  if call('EXISTS', KEYS[i]) == 1 then
    call('RENAME', KEYS[i], KEYS[i + 2])
    call('PERSIST', KEYS[i + 2])
  else
    call('DEL', KEYS[i + 2])
  end
end
return 1

-- Put a mended log and its versions in the place of those of the namespace, if these still are what was read.
-- KEYS: the mended log and versions (neither of them exists where nothing is left), then those of the namespace.
-- ARGV: the id that the log ended with when it was read, '' for none, how many entries it had, and '1' where it is to
-- be replaced: else it stays as it is, and its versions are.
-- Returns 1, or 0 where the log has another end, or where the mended one is gone.
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

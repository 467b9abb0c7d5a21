-- Point readers at another generation, if they still use the old one, which expires soon after.
-- KEYS: pointer; checkpoint and set of keys (written by builds up to 1.2.0) of the old generation; the new checkpoint.
-- ARGV: old or '', new, ms until the old one expires. A pointer key of a wrong type counts as no pointer.
-- Returns 1, or 0 when readers use another generation.
local call = redis.call

-- The keys of a generation: the checkpoint has a field with the size of each of them.
local function keys_of(checkpoint)
  local prefix = string.sub(checkpoint, 1, string.len(checkpoint) - string.len('checkpoint'))
  local keys = { checkpoint }
  if call('TYPE', checkpoint).ok ~= 'hash' then return keys end
  local fields = call('HGETALL', checkpoint)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '#' then keys[#keys + 1] = prefix .. string.sub(fields[i], 2) end
  end
  return keys
end

local points = call('TYPE', KEYS[1]).ok == 'string' and call('GET', KEYS[1]) or ''
if points ~= ARGV[1] then return 0 end
call('SET', KEYS[1], ARGV[2])
-- The new generation may be an old one that is about to expire, after the pointer was lost.
if call('PTTL', KEYS[4]) >= 0 then
  for _, key in ipairs(keys_of(KEYS[4])) do call('PERSIST', key) end
end
if ARGV[1] ~= '' and ARGV[1] ~= ARGV[2] then
  for _, key in ipairs(keys_of(KEYS[2])) do call('PEXPIRE', key, ARGV[3]) end
  if call('TYPE', KEYS[3]).ok == 'set' then
    for _, key in ipairs(call('SMEMBERS', KEYS[3])) do call('PEXPIRE', key, ARGV[3]) end
    call('PEXPIRE', KEYS[3], ARGV[3])
  end
end
return 1

-- Point readers at another generation, if they use the old one still; that one goes soon after.
-- KEYS: pointer, checkpoint and set of keys (builds up to 1.2.0 made one) of the old generation, checkpoint of the new.
-- ARGV: old or '', new, ms until the old one expires. A pointer of another type points nowhere.
-- Returns 1, or 0 when readers use another one.
local call = redis.call

-- The keys of a generation: each has its size in the checkpoint.
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
-- It may be one that was about to expire, as the pointer was lost.
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

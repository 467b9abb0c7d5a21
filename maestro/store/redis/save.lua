-- Write rows, index entries and the checkpoint of a generation, if its checkpoint is still the one the writer read.
-- KEYS: checkpoint, then the keys to write: hashes of rows and sorted sets.
-- ARGV: seq, chain and stopped of the checkpoint before; the number of words of the new checkpoint's fields, and these
-- names and values; then the writes: command, index in KEYS, number of arguments, the arguments (the caller keeps them
-- under the limit of unpack).
-- Returns 1; or 0 when another writer was first or the generation is about to expire; or, where a key has another
-- number of entries than was saved, its name, the saved number and the actual one. Only for 1 is anything written.
local call = redis.call
local stored = call('HMGET', KEYS[1], 'seq', 'chain', 'stopped')
if (stored[1] or '0') ~= ARGV[1] or (stored[2] or '') ~= ARGV[2] or (stored[3] or '') ~= ARGV[3] then return 0 end
if call('PTTL', KEYS[1]) >= 0 then return 0 end

local prefix = string.len(KEYS[1]) - string.len('checkpoint')
local names, sizes = {}, {}
for i = 2, #KEYS do names[i - 1] = '#' .. string.sub(KEYS[i], prefix + 1) end
for i = 1, #names, 1000 do
  local known = call('HMGET', KEYS[1], unpack(names, i, math.min(i + 999, #names)))
  for k, size in ipairs(known) do sizes[i + k - 1] = tonumber(size or '0') or -1 end
end
for i, name in ipairs(names) do
  local found = call(string.sub(name, 2, 6) == 'rows:' and 'HLEN' or 'ZCARD', KEYS[i + 1])
  if found ~= sizes[i] then return { string.sub(name, 2), sizes[i], found } end
end

local fields = tonumber(ARGV[4])
local at = 5 + fields
while ARGV[at] do
  local of, count = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local changed = call(ARGV[at], KEYS[of], unpack(ARGV, at + 3, at + 2 + count))
  local more = ARGV[at] == 'HSET' or ARGV[at] == 'ZADD'
  sizes[of - 1] = sizes[of - 1] + (more and changed or -changed)
  at = at + 3 + count
end
call('HSET', KEYS[1], unpack(ARGV, 5, 4 + fields))
for i = 1, #names, 1000 do
  local told = {}
  for k = i, math.min(i + 999, #names) do
    told[#told + 1] = names[k]
    told[#told + 1] = sizes[k]
  end
  call('HSET', KEYS[1], unpack(told))
end
return 1

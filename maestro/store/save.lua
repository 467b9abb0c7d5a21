-- Write rows, index entries and the checkpoint of a generation, if it still is where the writer read it.
-- KEYS: checkpoint, set of the generation's keys, then the keys written to.
-- ARGV: seq, chain and stopped of the checkpoint before; the fields of the one after, as one count and their names and
-- values; then the writes: command, index in KEYS, number of arguments, the arguments (the caller keeps them under the
-- limit of unpack). Returns 1, or 0 when another writer was first, or the generation is about to expire.
local call = redis.call
local stored = call('HMGET', KEYS[1], 'seq', 'chain', 'stopped')
if (stored[1] or '0') ~= ARGV[1] or (stored[2] or '') ~= ARGV[2] or (stored[3] or '') ~= ARGV[3] then return 0 end
if call('PTTL', KEYS[2]) >= 0 then return 0 end

call('SADD', KEYS[2], KEYS[1])
for i = 3, #KEYS, 1000 do
  call('SADD', KEYS[2], unpack(KEYS, i, math.min(i + 999, #KEYS)))
end
local fields = tonumber(ARGV[4])
local at = 5 + fields
while ARGV[at] do
  local count = tonumber(ARGV[at + 2])
  call(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, at + 2 + count))
  at = at + 3 + count
end
call('HSET', KEYS[1], unpack(ARGV, 5, 4 + fields))
return 1

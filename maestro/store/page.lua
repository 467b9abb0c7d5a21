-- The rows of a page of an index, with the checkpoint that they are of.
-- KEYS: checkpoint, index, rows. ARGV: min, max, offset, limit, '1' for the highest score first.
-- Returns the checkpoint's fields, how many the range holds, the row ids, the rows.
local call = redis.call
local ids
if ARGV[5] == '1' then
  ids = call('ZRANGE', KEYS[2], ARGV[2], ARGV[1], 'BYSCORE', 'REV', 'LIMIT', ARGV[3], ARGV[4])
else
  ids = call('ZRANGE', KEYS[2], ARGV[1], ARGV[2], 'BYSCORE', 'LIMIT', ARGV[3], ARGV[4])
end
local rows = {}
for i = 1, #ids, 1000 do
  for _, row in ipairs(call('HMGET', KEYS[3], unpack(ids, i, math.min(i + 999, #ids)))) do
    rows[#rows + 1] = row
  end
end
return { call('HGETALL', KEYS[1]), call('ZCOUNT', KEYS[2], ARGV[1], ARGV[2]), ids, rows }

-- The rows of a page of an index, with the checkpoint that they belong to.
-- KEYS: checkpoint, index, rows. ARGV: min, max, offset, limit, '1' for the highest score first, the prefix of the
-- row ids or '', then the names of the checkpoint's fields; the last two are the sizes of index and rows.
-- Returns these fields, the number of entries of index and rows, the number in the range, the row ids, the rows.
local call = redis.call
local low, high, by, count = ARGV[1], ARGV[2], 'BYSCORE', 'ZCOUNT'
if ARGV[6] ~= '' then
  -- The byte 255 occurs in no UTF-8 text, so it sorts behind all ids that begin with the prefix.
  low, high, by, count = '[' .. ARGV[6], '(' .. ARGV[6] .. string.char(255), 'BYLEX', 'ZLEXCOUNT'
end
local ids
if ARGV[5] == '1' then
  ids = call('ZRANGE', KEYS[2], high, low, by, 'REV', 'LIMIT', ARGV[3], ARGV[4])
else
  ids = call('ZRANGE', KEYS[2], low, high, by, 'LIMIT', ARGV[3], ARGV[4])
end
local rows = {}
for i = 1, #ids, 1000 do
  for _, row in ipairs(call('HMGET', KEYS[3], unpack(ids, i, math.min(i + 999, #ids)))) do
    rows[#rows + 1] = row
  end
end
local held = { call('ZCARD', KEYS[2]), call('HLEN', KEYS[3]) }
if by == 'BYLEX' and held[1] > 0 then
  -- BYLEX is in order among equal scores only: count entries with the first score, so that others fail the check.
  local score = call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
  held[1] = call('ZCOUNT', KEYS[2], score, score)
end
return { call('HMGET', KEYS[1], unpack(ARGV, 7)), held, call(count, KEYS[2], low, high), ids, rows }

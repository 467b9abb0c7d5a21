-- Point readers at another generation, if they use the old one still; that one goes soon after.
-- KEYS: pointer, the old generation's set of keys. ARGV: old or '', new, ms until the old one expires.
-- Returns 1, or 0 when readers use another one.
local call = redis.call
if (call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
call('SET', KEYS[1], ARGV[2])
if ARGV[1] ~= '' and ARGV[1] ~= ARGV[2] then
  for _, key in ipairs(call('SMEMBERS', KEYS[2])) do call('PEXPIRE', key, ARGV[3]) end
  call('PEXPIRE', KEYS[2], ARGV[3])
end
return 1

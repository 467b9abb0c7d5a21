-- Take or renew a lease, or drop it, in server time.
-- KEYS: lease. ARGV: holder, ttl in ms, or 0 to drop it. Returns 1 when the lease is (was) the holder's.
-- A key that is no string, or that never expires, was not written as a lease: it counts as free.
local is_lease = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('PTTL', KEYS[1]) >= 0
local holder = is_lease and redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1

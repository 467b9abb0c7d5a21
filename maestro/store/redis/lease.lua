-- Take or renew a lease, drop it, or look who holds it, in server time.
-- KEYS: lease. ARGV: holder, or '' to look; ttl in ms, or 0 to drop it. Returns 1 when the lease is (was) the holder's,
-- and for a look its holder, or false.
-- A key that is no string, or that never expires, was not written as a lease: it counts as free.
local left = redis.call('TYPE', KEYS[1]).ok == 'string' and redis.call('PTTL', KEYS[1]) or -1
local holder = left >= 0 and redis.call('GET', KEYS[1])
local ttl = tonumber(ARGV[2])
-- It was written by the clock of another server, before a failover: by this one's it would be held for longer than any.
if holder and ttl > 0 and left > ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
if ARGV[1] == '' then return holder end
if holder and holder ~= ARGV[1] then return 0 end
if ttl == 0 then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ttl)
return 1

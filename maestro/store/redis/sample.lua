-- Replace a heartbeat, stamped with the server's time.
-- KEYS: sample. ARGV: ttl in ms, then name and value of each field.
local now = redis.call('TIME')
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'at', string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)), unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])

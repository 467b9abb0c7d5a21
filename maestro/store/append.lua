-- Append a group of event groups to the log, each on its own terms, in one call.
--
-- Nothing is rolled back by Redis, so every check that can fail for an append comes before its first write, and every
-- check that concerns all of them comes before the first write of all.
--
-- KEYS: log, meta, versions, then the leases, then the work streams.
-- ARGV: known seq or '', known chain, number of leases, number of appends; then per append:
--   number of events, actor, cause, '' or 'x'; if 'x':
--     since or '', index of the lease in KEYS or '', its holder, '1' if it floors or '', number of hints;
--     per hint: index of the stream in KEYS, run, index of the event (from 0) or '-1', token
--   per event: type, subject, expected version or '', v, data
-- Returns seq, chain, at, floor, and per append: its first seq, or {'seen', first, last, at}, {'version', event, actual} or
-- {'fence'}. Errors: LINEAGE, WRONGTYPE.

local call, format, sha1 = redis.call, string.format, redis.sha1hex
local log, meta, versions = KEYS[1], KEYS[2], KEYS[3]
local WALK_MAX = 10000

-- Positions exceed the 14 digits that Lua prints exactly by itself.
local function str(n) return format('%.0f', n) end

local function lineage(text) return redis.error_reply('LINEAGE ' .. text) end

-- The fields of an entry by position: type 2, subject 4, at 6, actor 8, cause 10, prev 12, v 14, data 16, chain 18.
local function entry(seq)
  local id = str(seq) .. '-0'
  local found = call('XRANGE', log, id, id)[1]
  return found and found[2]
end

local head = call('HMGET', meta, 'seq', 'chain', 'at', 'floor')
local seq, chain = tonumber(head[1] or 0), head[2] or ''
local at, floor = tonumber(head[3] or 0), tonumber(head[4] or 0)
local start = seq

local known = tonumber(ARGV[1])
if known and known > 0 then
  if known > seq then
    return lineage('the log ends at ' .. str(seq) .. ', before position ' .. ARGV[1])
  end
  local found = chain
  if known < seq then
    local fields = entry(known)
    if fields then
      found = fields[18]
    else
      local first = call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
      -- A trimmed position lies before all that is left; any other gap is damage.
      local trimmed = first and tonumber(string.match(first[1], '^%d+')) > known
      found = trimmed and ARGV[2]
    end
  end
  if found ~= ARGV[2] then
    return lineage('position ' .. ARGV[1] .. ' holds another event')
  end
end
if seq > 0 and call('EXISTS', log, versions) < (seq > floor and 2 or 1) then
  return lineage('its entries or the versions of its subjects are gone')
end

local leases = tonumber(ARGV[3])
for i = 4, #KEYS do
  local want = i - 3 <= leases and 'string' or 'stream'
  local kind = call('TYPE', KEYS[i]).ok
  if kind ~= 'none' and kind ~= want then
    return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. kind .. ', not a ' .. want)
  end
end

local now = call('TIME')
at = math.max(at, now[1] * 1000 + math.floor(now[2] / 1000))
local at_text = str(at)

local current, written = {}, {}

local function version(subject)
  local v = current[subject]
  if not v then
    v = tonumber(call('HGET', versions, subject) or floor)
    current[subject] = v
  end
  return v
end

local function same(fields, event, actor, cause)
  return fields[2] == ARGV[event] and fields[4] == ARGV[event + 1] and fields[16] == ARGV[event + 4]
    and fields[8] == actor and fields[10] == cause
end

-- Where the event was appended by an earlier try, behind `after`: along the subject's own entries, or, where a restore
-- has cut those, along the log. Entries of this very call are no earlier tries.
local function seen(event, actor, cause, after, scan)
  local subject = ARGV[event + 1]
  local v, steps = version(subject), 0
  while v > after and v > floor and steps < WALK_MAX do
    local fields = entry(v)
    if not fields or fields[4] ~= subject then break end
    if v <= start and same(fields, event, actor, cause) then return v, fields[6] end
    v, steps = tonumber(fields[12]), steps + 1
  end
  while scan and floor > after and after < start do
    local chunk = call('XRANGE', log, str(after + 1), str(start), 'COUNT', 500)
    for _, e in ipairs(chunk) do
      after = tonumber(string.match(e[1], '^%d+'))
      if same(e[2], event, actor, cause) then return after, e[2][6] end
    end
    if #chunk == 0 then break end
  end
end

local function set_versions()
  for i = 1, #written, 2000 do
    call('HSET', versions, unpack(written, i, math.min(i + 1999, #written)))
  end
  written = {}
end

local results = {}
local at_arg = 5

for n = 1, tonumber(ARGV[4]) do
  local count, actor, cause = tonumber(ARGV[at_arg]), ARGV[at_arg + 1], ARGV[at_arg + 2]
  local extra = ARGV[at_arg + 3] == 'x'
  local since, lease, holder, floors, hints, first_hint
  at_arg = at_arg + 4
  if extra then
    since, lease, holder = tonumber(ARGV[at_arg]), tonumber(ARGV[at_arg + 1]), ARGV[at_arg + 2]
    floors, hints, first_hint = ARGV[at_arg + 3] == '1', tonumber(ARGV[at_arg + 4]), at_arg + 5
    at_arg = first_hint + 4 * hints
  end
  local events = at_arg
  at_arg = events + 5 * count

  -- Check. An event for any version is looked for behind the head that its sender knew: its own second copy may come
  -- late, from a connection that was given up.
  local result
  local resent = since
  since = since or known or start
  for i = 0, count - 1 do
    local event = events + 5 * i
    local expected = tonumber(ARGV[event + 2])
    local actual = version(ARGV[event + 1])
    local found, found_at
    if expected and expected ~= actual then
      found, found_at = seen(event, actor, cause, resent and math.max(expected, resent) or expected, resent)
      if not found then result = { 'version', i, actual } end
    elseif i == 0 and not expected and start > since then
      found, found_at = seen(event, actor, cause, since, true)
    end
    if found then result = { 'seen', found - i, found - i + count - 1, tonumber(found_at) } end
    if result then break end
  end
  if not result and lease and call('GET', KEYS[lease]) ~= holder then result = { 'fence' } end

  if not result then
    local first = seq + 1
    for event = events, at_arg - 1, 5 do
      local name, subject, v, data = ARGV[event], ARGV[event + 1], ARGV[event + 3], ARGV[event + 4]
      local prev = str(version(subject))
      local this = str(seq + 1)
      local link = sha1(chain .. #this .. ':' .. this .. #name .. ':' .. name .. #subject .. ':' .. subject
        .. #at_text .. ':' .. at_text .. #actor .. ':' .. actor .. #cause .. ':' .. cause
        .. #prev .. ':' .. prev .. #v .. ':' .. v .. #data .. ':' .. data)
      -- The first write of all may fail (memory, another hand); then nothing was done.
      local added = (seq == start and redis.pcall or call)('XADD', log, this .. '-0', 'type', name, 'subject', subject,
        'at', at_text, 'actor', actor, 'cause', cause, 'prev', prev, 'v', v, 'data', data, 'chain', link)
      if added.err then
        local taken = string.find(added.err, 'equal or smaller', 1, true)
        return taken and lineage('another hand wrote at position ' .. this) or added
      end
      seq, chain = seq + 1, link
      current[subject] = seq
      written[#written + 1] = subject
      written[#written + 1] = this
    end
    if floors then
      call('DEL', versions)
      current, written, floor = {}, {}, seq
    end
    for i = 0, (hints or 0) - 1 do
      local hint = first_hint + 4 * i
      local of = tonumber(ARGV[hint + 2])
      local token = of >= 0 and str(first + of) or ARGV[hint + 3]
      call('XADD', KEYS[tonumber(ARGV[hint])], 'MAXLEN', '~', 100000, '*', 'run', ARGV[hint + 1], 'token', token)
    end
    result = first
  end
  results[n] = result
end

if seq > start then
  set_versions()
  call('HSET', meta, 'seq', str(seq), 'chain', chain, 'at', at_text, 'floor', str(floor))
end
return { seq, chain, at, floor, results }

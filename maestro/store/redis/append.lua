-- Append a batch of appends to the log in one call; each append succeeds or fails by its own conditions.
--
-- Redis rolls nothing back, so all checks that can fail for one append come before its first write, and all checks that
-- concern the whole batch come before the first write of all.
--
-- KEYS: log, versions, then the leases, then the work streams.
-- ARGV: known seq or '', known chain; then per append one msgpack array of strings:
--   actor, cause, options, and per event: type, subject, expected version or '', v, data
--   options: false, or the array: since or '', index of the lease in KEYS or '', its holder, '1' to set the floor or
--   '', the position that was read up to or '', how many of the last events each follow from the one before it, and the
--   actors of those events;
--   and per hint: index of the stream in KEYS, run, index of the event (from 0) or '-1', token
-- Returns seq, chain, at, floor, and per append: its first seq, or {'seen', first, last, at},
-- {'version', event, actual}, {'sealed', event, actual} or {'fence'}. Errors: LINEAGE.

local call, format, sha1 = redis.call, string.format, redis.sha1hex
local log, versions = KEYS[1], KEYS[2]
local WALK_MAX = 10000

-- Format a position: Lua prints at most 14 digits exactly by itself; '%d', which is faster, is a C long.
local function str(n) return format(n < 2147483648 and '%d' or '%.0f', n) end

-- '<length>:' of a field, for the chain: usual lengths are constants, as number formatting is slow.
local sized = setmetatable({
  '1:', '2:', '3:', '4:', '5:', '6:', '7:', '8:', '9:', '10:', '11:', '12:', '13:', '14:', '15:', '16:', '17:', '18:',
  '19:', '20:', '21:', '22:', '23:', '24:', '25:', '26:', '27:', '28:', '29:', '30:', '31:', '32:', '33:', '34:', '35:',
}, {
  __index = function(known, n)
    known[n] = n .. ':'
    return known[n]
  end,
})

local function lineage(text) return redis.error_reply('LINEAGE ' .. text) end

-- The entry at a position: type 2, subject 4, at 6, actor 8, cause 10, prev 12, v 14, data 16, chain 18.
local function entry(seq)
  local id = str(seq) .. '-0'
  local found = call('XRANGE', log, id, id)[1]
  return found and found[2]
end

-- The last entry tells the end of the log; the floor is stored with the versions, under the subject '', and under
-- 'sealed' the horizon, up to which versions may have been forgotten.
local tail = call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
local seq, chain, at = 0, '', 0
if tail then
  local id, fields = string.match(tail[1], '^(%d+)-0$'), tail[2]
  if not id or fields[1] ~= 'type' or fields[17] ~= 'chain' then
    return lineage('another hand wrote ' .. tail[1] .. ' into it')
  end
  seq, chain, at = tonumber(id), fields[18], tonumber(fields[6])
end
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
      local trimmed = tonumber(string.match(first[1], '^%d+')) > known
      found = trimmed and ARGV[2]
    end
  end
  if found ~= ARGV[2] then
    return lineage('position ' .. ARGV[1] .. ' holds another event')
  end
end

local now = call('TIME')
at = math.max(at, now[1] * 1000 + math.floor(now[2] / 1000))
local at_text = str(at)

local appends, subjects = {}, { '', 'sealed' }
for n = 3, #ARGV do
  local append = cmsgpack.unpack(ARGV[n])
  appends[n - 2] = append
  for i = 5, #append, 5 do subjects[#subjects + 1] = append[i] end
end

-- Versions stay text, as they are stored.
local current, written, absent, horizon = {}, {}, {}, 0
for i = 1, #subjects, 1000 do
  local last = math.min(i + 999, #subjects)
  local found = call('HMGET', versions, unpack(subjects, i, last))
  for k = i, last do
    local version = found[k - i + 1]
    current[subjects[k]] = version or current[''] or '0'
    if not version then absent[subjects[k]] = true end
  end
  if i == 1 and (found[1] and true or false) ~= (tail and true or false) then
    return lineage('its entries or the versions of its subjects are gone')
  end
  if i == 1 then horizon = tonumber(found[2] or '0') end
end
local floor = tonumber(current[''])
if not tail then written = { '', '0' } end

local function same(fields, append, event)
  return fields[2] == append[event] and fields[4] == append[event + 1] and fields[16] == append[event + 4]
    and fields[8] == append[1] and fields[10] == append[2]
end

-- Position and time at which an earlier try appended the event, behind `after`, or nil. Searches along the subject's
-- own entries or, where a restore cut their links, along the log (scan). Entries that this call wrote are no earlier
-- tries.
local function seen(append, event, after, scan)
  local subject = append[event + 1]
  local v, steps = tonumber(current[subject]), 0
  while v > after and v > floor and steps < WALK_MAX do
    local fields = entry(v)
    if not fields or fields[4] ~= subject then break end
    if v <= start and same(fields, append, event) then return v, fields[6] end
    v, steps = tonumber(fields[12]), steps + 1
  end
  while scan and floor > after and after < start do
    local chunk = call('XRANGE', log, str(after + 1), str(start), 'COUNT', 500)
    for _, e in ipairs(chunk) do
      after = tonumber(string.match(e[1], '^%d+'))
      if same(e[2], append, event) then return after, e[2][6] end
    end
    if #chunk == 0 then break end
  end
end

-- The result of an append that must not be written: a version conflict, or 'seen' for an earlier try. Else nil.
--
-- An event for any version is searched behind the head that its sender knew: a second copy of it may arrive late, from
-- a connection that was given up. An event that follows from another was appended together with it, or not at all.
--
-- A subject without a version is new, or unseen since a restore, or was forgotten: then all of its events are at or
-- before the horizon. Who has read up to there knows which it is.
local function check(append, last, following, resent, since, read_at)
  for i = 0, last do
    local event = 4 + 5 * i
    local expected, actual = append[event + 2], current[append[event + 1]]
    local found, found_at
    if expected == '' then
      if i == 0 and start > since then found, found_at = seen(append, event, since, true) end
    elseif expected ~= actual then
      local after = tonumber(expected)
      if resent then after = math.max(after, since) end
      if i < following then found, found_at = seen(append, event, after, resent) end
      if not found then
        local seq_of = tonumber(expected)
        local forgotten = absent[append[event + 1]] and seq_of > floor and seq_of <= horizon
        return { forgotten and 'sealed' or 'version', i, tonumber(actual) }
      end
    elseif absent[append[event + 1]] and ((read_at and read_at < horizon) or (resent and since < horizon)) then
      return { 'sealed', i, tonumber(actual) }
    end
    if found then return { 'seen', found - i, found - i + last, tonumber(found_at) } end
  end
end

local results = {}
for n, append in ipairs(appends) do
  local actor, cause, options = append[1], append[2], append[3]
  local since = options and tonumber(options[1]) or nil
  local last = (#append - 3) / 5 - 1
  local followers = options and tonumber(options[6]) or 0
  local read_at = options and tonumber(options[5]) or nil
  local following = last + 1 - followers
  local result = check(append, last, following, since ~= nil, since or known or start, read_at)
  -- A value of another type in the place of the lease means that nobody holds it.
  if not result and options and options[2] ~= '' and redis.pcall('GET', KEYS[tonumber(options[2])]) ~= options[3] then
    result = { 'fence' }
  end
  if not result then
    result = seq + 1
    local origin = sized[#at_text] .. at_text .. sized[#actor] .. actor .. sized[#cause] .. cause
    for event = 4, #append, 5 do
      local number = (event - 4) / 5 - following
      if number >= 0 then
        actor, cause = options[7 + number], str(seq)
        origin = sized[#at_text] .. at_text .. sized[#actor] .. actor .. sized[#cause] .. cause
      end
      local name, subject, v, data = append[event], append[event + 1], append[event + 3], append[event + 4]
      local prev, this = current[subject], str(seq + 1)
      local link = sha1(chain .. sized[#this] .. this .. sized[#name] .. name .. sized[#subject] .. subject .. origin
        .. sized[#prev] .. prev .. sized[#v] .. v .. sized[#data] .. data)
      -- The first write may fail (memory, entries of another program); then nothing was written.
      local added = (seq == start and redis.pcall or call)('XADD', log, this .. '-0', 'type', name, 'subject', subject,
        'at', at_text, 'actor', actor, 'cause', cause, 'prev', prev, 'v', v, 'data', data, 'chain', link)
      if added.err then
        local taken = string.find(added.err, 'equal or smaller', 1, true)
        return taken and lineage('another hand wrote at position ' .. this) or added
      end
      seq, chain = seq + 1, link
      current[subject] = this
      absent[subject] = nil
      written[#written + 1] = subject
      written[#written + 1] = this
    end
    if options and options[4] == '1' then
      local floor_text = str(seq)
      call('DEL', versions)
      floor, written = seq, { '', floor_text }
      if horizon > 0 then written = { '', floor_text, 'sealed', str(horizon) } end
      for subject in pairs(current) do
        current[subject] = floor_text
        absent[subject] = true
      end
    end
    for hint = 7 + followers, options and #options or 0, 4 do
      local of = tonumber(options[hint + 2])
      local token = of >= 0 and str(result + of) or options[hint + 3]
      -- If another type is in the place of the work stream, the hint is put again once that is renamed away.
      redis.pcall('XADD', KEYS[tonumber(options[hint])], 'MAXLEN', '~', 100000, '*',
        'run', options[hint + 1], 'token', token)
    end
  end
  results[n] = result
end

if seq > start then
  for i = 1, #written, 2000 do
    call('HSET', versions, unpack(written, i, math.min(i + 1999, #written)))
  end
end
return { seq, chain, at, floor, results }

-- All that changes or reads one document's presence, each action as a whole.
--
-- KEYS[1]  sorted set: sessions by when they were last shown or renewed, on this server's clock, in ms
-- KEYS[2]  hash: by session, what it shows: a map from each entry's key to its timestamp and its bytes
-- ARGV     the action, the channel for news, the time to live in ms, and what the action takes

local sessions, entries = KEYS[1], KEYS[2]
local action, channel, time_to_live_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- Whoever was last shown or renewed then is over.
local over_ms = now_ms - time_to_live_ms

-- What nobody takes away, as nobody watches the document any more, is dropped after a while.
local function keep()
  redis.call('PEXPIRE', sessions, time_to_live_ms * 10)
  redis.call('PEXPIRE', entries, time_to_live_ms * 10)
end

local function entries_of(session)
  local kept = redis.call('HGET', entries, session)
  return kept and cmsgpack.unpack(kept)
end

-- News are E for entries or G for those that are gone, the session, a line feed, and the entries.
local function tell(kind, session, told)
  if #told > 0 then
    redis.call('PUBLISH', channel, kind .. session .. '\n' .. string.char(#told) .. table.concat(told))
  end
end

local function bytes_of(shown)
  local bytes = {}
  for _, entry in pairs(shown) do
    bytes[#bytes + 1] = entry[2]
  end
  return bytes
end

local function take_away(session)
  local shown = entries_of(session)
  redis.call('ZREM', sessions, session)
  redis.call('HDEL', entries, session)
  if shown then
    tell('G', session, bytes_of(shown))
  end
end

local actions = {}

-- Takes the most sessions that there may be, the session, and for each entry its key, its timestamp, 1 if
-- it is a removal, and its bytes. Gives 0 if there are as many sessions.
function actions.show()
  local sessions_max, session = tonumber(ARGV[4]), ARGV[5]
  local is_new = not redis.call('ZSCORE', sessions, session)
  if is_new and redis.call('ZCARD', sessions) >= sessions_max then
    return 0
  end
  local shown, news = entries_of(session) or {}, {}
  for i = 6, #ARGV, 4 do
    local key, timestamp_ms, is_removal, bytes = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1', ARGV[i + 3]
    local there = shown[key]
    if not there or there[1] <= timestamp_ms then
      shown[key] = not is_removal and { timestamp_ms, bytes } or nil
      news[#news + 1] = bytes
    end
  end
  redis.call('ZADD', sessions, now_ms, session)
  redis.call('HSET', entries, session, cmsgpack.pack(shown))
  keep()
  tell('E', session, news)
  return 1
end

-- Takes sessions, and gives those that are not there or over.
function actions.renew()
  local unknown = {}
  for i = 4, #ARGV do
    local renewed_ms = redis.call('ZSCORE', sessions, ARGV[i])
    if renewed_ms and tonumber(renewed_ms) > over_ms then
      redis.call('ZADD', sessions, now_ms, ARGV[i])
    else
      unknown[#unknown + 1] = ARGV[i]
    end
  end
  keep()
  return unknown
end

-- Takes a session.
function actions.take_away()
  take_away(ARGV[4])
  return 1
end

-- Gives each session that is not over with the bytes of its entries.
function actions.shown()
  local found = {}
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', sessions, '(' .. over_ms, '+inf')) do
    found[#found + 1] = { session, bytes_of(entries_of(session) or {}) }
  end
  return found
end

-- Takes away what is over.
function actions.expire()
  for _, session in ipairs(redis.call('ZRANGEBYSCORE', sessions, '-inf', over_ms)) do
    take_away(session)
  end
  return 1
end

return actions[action]()

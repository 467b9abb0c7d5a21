"""Checks whether a server can be trusted with the log, for `doctor` and at the first connection.

Each check says what holds and what that means. `refuse` stops the use of the store, `warn` is shown once, `note` states
what the server promises. Its facts are those of `Store.describe`, and a few more that `gather` finds; each check
tolerates a missing fact.

The minimal rights of the store's user are `acl_rule`; the store is tested under it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from maestro.model.errors import StoreAway, StoreUnsafe
from maestro.store.keys import Keys
from maestro.store.redis.refusals import Moved, ServerBusy, WritesRefused

Level = Literal["refuse", "warn", "note"]
Kind = Literal["set", "server", "embedded"]

VERSION_MIN = (7, 0)
ANSWERS = (Moved, ServerBusy, WritesRefused)
"""Errors of a server that is there: a node of a cluster without its slots, say, refuses this one command."""
FULL_SHARE_WARN = 0.8

# The commands that the store uses, its scripts included; XTRIM for sealed history, WAIT for replicas.
COMMANDS = (
    *("auth", "hello", "select", "ping", "time", "info", "config|get", "client|unblock", "cluster|info", "scan"),
    *("multi", "exec", "eval", "evalsha", "wait", "exists", "type", "del", "unlink", "rename", "persist"),
    *("pexpire", "pttl"),
    *("get", "set", "hget", "hmget", "hgetall", "hkeys", "hlen", "hscan", "hset", "hdel", "sadd", "smembers"),
    *("zadd", "zrem", "zrange", "zscan", "zscore", "zcount", "zlexcount", "zcard"),
    *("xadd", "xdel", "xtrim", "xlen", "xrange", "xrevrange", "xread", "xinfo|stream"),
    *("xgroup|create", "xreadgroup", "xack", "xpending"),
)


class Check(msgspec.Struct, frozen=True):
    """One finding. level: what it means if not ok (a `note` is always ok). remedy: what to do, or ""."""

    name: str
    ok: bool
    level: Level
    detail: str
    remedy: str = ""


def acl_rule(user: str, namespace: str, password: str) -> list[str]:
    """The words of `ACL SETUSER` for a user that can do what the store of one namespace needs, and nothing else."""
    rights = (f"+{command}" for command in COMMANDS)
    return ["ACL", "SETUSER", user, "reset", "on", f">{password}", f"~{Keys(namespace).prefix}*", *rights]


def gather(call: Callable[..., Any], namespace: str | None = None) -> dict[str, str]:
    """The facts of a server.

    call(*words): runs one command, such as `Wire.call` or `ConnectionPool.call`.
    namespace: also test what this user may do to its keys (fact `access`).
    What the server hides from this user (managed servers hide CONFIG) is left out. Raises what `call` raises when not
    even INFO is allowed.
    """
    info = _fields(call("INFO"))
    state, answers = "", True
    if (info.get("server_mode") or info.get("redis_mode")) == "cluster":
        state = _optional(call, "CLUSTER", "INFO").get("cluster_state", "unknown")
        answers = state in ("ok", "unknown")
        if namespace is not None and answers:
            _lead(call, namespace)
            info = _fields(call("INFO"))
    valkey = "valkey_version" in info  # Valkey's `redis_version` stays at 7.2.4, for old clients
    facts = {
        "server": "valkey" if valkey else "redis",
        "version": info.get("valkey_version") or info.get("redis_version", "0"),
        "mode": info.get("server_mode") or info.get("redis_mode", "unknown"),
        "role": "primary" if info.get("role") == "master" else "replica",
        "primary": f"{info.get('master_host', '')}:{info.get('master_port', '')}",
        "loading": info.get("loading", "0"),
        "aof": "on" if info.get("aof_enabled") == "1" else "off",
        "aof_write": info.get("aof_last_write_status", "ok"),
        "fsync": _optional(call, "CONFIG", "GET", "appendfsync").get("appendfsync", "unknown"),
        "eviction": info.get("maxmemory_policy", "unknown"),
        "maxmemory": info.get("maxmemory", "0"),
        "used_memory": info.get("used_memory", "0"),
        "replicas": info.get("connected_slaves", "0"),
    }
    if state:
        facts["cluster_state"] = state
    if namespace is not None and answers:
        facts["access"] = _access(call, namespace)
    return facts


def checks(facts: Mapping[str, str], kind: Kind = "set") -> list[Check]:
    """The findings for the facts of a server.

    kind: where the store comes from; at a configured URL a missing append-only file (AOF) is only a warning.
    The store in memory (`server: memory`) has nothing to check.
    """
    if facts.get("server") == "memory":
        return []
    found = [_version(facts), _role(facts), _loading(facts), _eviction(facts)]
    if facts.get("loading", "0") == "0":  # a loading server reports that its AOF is off
        found.append(_aof(facts, kind))
    found += [_fsync(facts)] if facts.get("aof") == "on" else []
    found += [_memory(facts), _replicas(facts)]
    found += [_cluster(facts)] if facts.get("mode") == "cluster" else []
    found += [_rights(facts)] if "access" in facts else []
    return found


def refuse_unsafe(found: list[Check], where: str = "") -> list[Check]:
    """The warnings among the findings. where: the store's name for the error. Raises `StoreUnsafe` at a refusal."""
    for check in found:
        if not check.ok and check.level == "refuse":
            raise StoreUnsafe(f"the store is unsafe: {check.detail}", where, check.remedy)
    return [check for check in found if not check.ok]


def _version(facts: Mapping[str, str]) -> Check:
    text = facts.get("version", "0")
    ok = tuple(int(part) for part in text.split(".") if part.isdigit()) >= VERSION_MIN
    shown = f"{facts.get('server', 'server')} {text}"
    remedy = "" if ok else "use Redis or Valkey >= 7.0, or unset MAESTRO_REDIS_URL for the embedded store"
    return Check("version", ok, "refuse", shown + ("" if ok else " is older than 7.0"), remedy)


def _role(facts: Mapping[str, str]) -> Check:
    if facts.get("role") == "primary":
        return Check("role", True, "refuse", "a primary")
    primary = facts.get("primary", "")
    known = primary.strip(":") != ""
    detail = f"a replica of {primary}" if known else "a replica, which takes no writes"
    remedy = f"connect to {primary}, or through sentinel" if known else "connect to its primary, or through sentinel"
    return Check("role", False, "refuse", detail, remedy)


def _loading(facts: Mapping[str, str]) -> Check:
    if facts.get("loading", "0") == "0":
        return Check("loaded", True, "refuse", "all its data is loaded")
    return Check("loaded", False, "refuse", "it still loads its data", "wait, then try again")


def _eviction(facts: Mapping[str, str]) -> Check:
    policy = facts.get("eviction", "unknown")
    if policy == "unknown":
        return Check("eviction", False, "warn", "it does not tell its maxmemory-policy", "see that it is noeviction")
    if policy == "noeviction":
        return Check("eviction", True, "refuse", "keys are never evicted")
    detail = f"maxmemory-policy {policy} may drop parts of the log"
    return Check("eviction", False, "refuse", detail, "CONFIG SET maxmemory-policy noeviction")


def _aof(facts: Mapping[str, str], kind: Kind) -> Check:
    level: Level = "warn" if kind == "set" else "refuse"
    if facts.get("aof") == "on":
        if facts.get("aof_write", "ok") != "ok":
            return Check("aof", False, "refuse", "its last write to the AOF failed", "free its disk, or mend it")
        return Check("aof", True, level, "the append-only file is on")
    detail = "no append-only file: a restart of the server loses events it has acknowledged"
    return Check("aof", False, level, detail, "CONFIG SET appendonly yes, and in its configuration file")


def _fsync(facts: Mapping[str, str]) -> Check:
    mode = facts.get("fsync", "unknown")
    promise = {
        "always": "each append is on disk when it is acknowledged",
        "everysec": "a crash of its host may lose the last second or two",
    }
    if mode in promise:
        return Check("appendfsync", True, "note", f"{mode}: {promise[mode]}")
    if mode == "no":
        detail = "no: a crash of its host may lose what the system had not yet written, often 30 s"
        return Check("appendfsync", False, "warn", detail, "CONFIG SET appendfsync everysec, or always")
    return Check("appendfsync", True, "note", "it does not tell; everysec is the usual, a second or two may be lost")


def _memory(facts: Mapping[str, str]) -> Check:
    limit, used = int(facts.get("maxmemory", "0")), int(facts.get("used_memory", "0"))
    if limit == 0:
        return Check("memory", True, "note", "no limit set but that of its host")
    detail = f"{used >> 20} of {limit >> 20} MiB used; when it is full, appends fail until there is room"
    ok = used < limit * FULL_SHARE_WARN
    return Check("memory", ok, "warn", detail, "" if ok else "raise maxmemory")


def _replicas(facts: Mapping[str, str]) -> Check:
    count = int(facts.get("replicas", "0"))
    if count == 0:
        return Check("replicas", True, "note", "none: the log is on this server alone")
    detail = f"{count}: a failover may lose appends no replica had yet, which is noticed; WAIT narrows that"
    return Check("replicas", True, "note", detail)


def _cluster(facts: Mapping[str, str]) -> Check:
    ok = facts.get("cluster_state", "ok") in ("ok", "unknown")
    detail = "a cluster; a namespace lies on one of its primaries" if ok else "the cluster is down"
    return Check("cluster", ok, "refuse", detail, "" if ok else "see CLUSTER INFO")


def _rights(facts: Mapping[str, str]) -> Check:
    problem = facts["access"]
    if not problem:
        return Check("access", True, "refuse", "this user may do all that the store needs")
    detail = f"this user may not do all that the store needs: {problem}"
    rights = " ".join(acl_rule("USER", "NAMESPACE", "PASSWORD"))
    return Check("access", False, "refuse", detail, f"as its administrator: {rights}")


_TRY = """
for _, command in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(command, '%S+') do words[#words + 1] = word end
  for i, word in ipairs(words) do if word == 'KEY' then words[i] = KEYS[1] end end
  if not redis.acl_check_cmd(unpack(words)) then return command end
end
return ''
"""
_TRIED = (
    *("XADD KEY * f v", "XRANGE KEY - +", "XREADGROUP GROUP g c STREAMS KEY >", "XREAD STREAMS KEY 0", "XACK KEY g 0"),
    *(
        "XDEL KEY 0",
        "XPENDING KEY g",
        "XGROUP CREATE KEY g 0",
        "HSET KEY f v",
        "HGETALL KEY",
        "HSCAN KEY 0",
        "HLEN KEY",
        "HKEYS KEY",
    ),
    *("ZADD KEY 1 m", "ZRANGE KEY 0 1", "ZREM KEY m", "ZCARD KEY", "SET KEY v", "GET KEY", "PEXPIRE KEY 1"),
    *("DEL KEY", "UNLINK KEY", "TIME", "EVALSHA x 1 KEY", "MULTI", "EXEC", "SCAN 0", "CLIENT UNBLOCK 1"),
)


def _lead(call: Callable[..., Any], namespace: str) -> None:
    """Have the next commands go to the primary of a cluster that has the namespace."""
    try:
        call("EXISTS", Keys(namespace).log)
    except (StoreAway, OSError):
        raise
    except Exception:  # noqa: BLE001  whatever it is, `_access` tells it
        return


def _access(call: Callable[..., Any], namespace: str) -> str:
    """The command that this user may not run on the keys of a namespace, "" if none. Changes nothing."""
    try:
        missing = call("EVAL", _TRY, 1, Keys(namespace).log, *_TRIED)
    except ANSWERS as refused:
        return str(refused)
    except (StoreAway, OSError):  # it ended just now: that is no matter of rights
        raise
    except Exception as refused:  # noqa: BLE001  redis-py's and our own errors have no base in common
        return str(refused)
    return f"{_text(missing)} is not allowed" if missing else ""


def _optional(call: Callable[..., Any], *words: str) -> dict[str, str]:
    try:
        return _fields(call(*words))
    except ANSWERS:
        return {}
    except (StoreAway, OSError):
        raise
    except Exception:  # noqa: BLE001  redis-py's and our own errors have no base in common
        return {}


def _fields(reply: Any) -> dict[str, str]:
    """The fields of INFO's text, CONFIG GET's flat list, or of what redis-py makes of either."""
    if isinstance(reply, Mapping):
        return {_text(key): _text(value) for key, value in reply.items()}
    if isinstance(reply, list):
        return {_text(key): _text(value) for key, value in zip(reply[::2], reply[1::2], strict=True)}
    lines = (line.partition(":") for line in _text(reply).splitlines() if ":" in line)
    return {key: value for key, _, value in lines}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)

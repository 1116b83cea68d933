"""The rules of IngressRoutes. https://doc.traefik.io/traefik/reference/routing-configuration/http/routing/rules-and-priority/"""

from __future__ import annotations

import re

VALUE = r"`[^`]*`|\"[^\"]*\""
MATCHER = re.compile(rf"(\w+)\(\s*((?:{VALUE})(?:\s*,\s*(?:{VALUE}))*)\s*\)")
TOKEN = re.compile(rf"\s*({MATCHER.pattern}|&&|\|\||!|\(|\))")


def find_hosts(rule: str) -> list[str]:
    return [value for name, values in MATCHER.findall(rule) if name == "Host" for value in split_values(values)]


def find_paths(rule: str) -> list[str]:
    return [value for name, values in MATCHER.findall(rule) if name in ("Path", "PathPrefix")
            for value in split_values(values)]


def split_values(text: str) -> list[str]:
    return [value[1:-1] for value in re.findall(VALUE, text)]


def rule_matches(rule: str, host: str, path: str) -> bool:
    """Whether a rule matches a request. A matcher for something else, such as a header, is taken to match.

    A rule that cannot be parsed matches if it contains the host: it was written for it. Traefik's log has the error.
    """
    try:
        tokens = split_tokens(rule)
        result = match_any(tokens, host, path)
        if tokens:
            raise ValueError(rule)
        return result
    except (ValueError, IndexError, re.error):
        return host in rule


def split_tokens(rule: str) -> list[str]:
    """The tokens in reverse order, so that the next one is the last."""
    tokens, position = [], 0
    while position < len(rule.rstrip()):
        token = TOKEN.match(rule, position)
        if not token:
            raise ValueError(rule)
        tokens.append(token[1])
        position = token.end()
    return tokens[::-1]


def match_any(tokens: list[str], host: str, path: str) -> bool:
    results = [match_all(tokens, host, path)]
    while tokens and tokens[-1] == "||":
        tokens.pop()
        results.append(match_all(tokens, host, path))
    return any(results)


def match_all(tokens: list[str], host: str, path: str) -> bool:
    results = [match_one(tokens, host, path)]
    while tokens and tokens[-1] == "&&":
        tokens.pop()
        results.append(match_one(tokens, host, path))
    return all(results)


def match_one(tokens: list[str], host: str, path: str) -> bool:
    token = tokens.pop()
    if token == "!":
        return not match_one(tokens, host, path)
    if token == "(":
        result = match_any(tokens, host, path)
        if tokens.pop() != ")":
            raise ValueError(token)
        return result
    matcher = MATCHER.fullmatch(token)
    if not matcher:
        raise ValueError(token)
    name, values = matcher[1], split_values(matcher[2])
    match name:
        case "Host":
            return host in map(str.lower, values)
        case "HostRegexp":
            return any(re.search(value, host) for value in values)
        case "Path":
            return path in values
        case "PathPrefix":
            return path.startswith(tuple(values))
        case "PathRegexp":
            return any(re.search(value, path) for value in values)
    return True

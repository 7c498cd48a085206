"""Removal of private paths and secrets from an option file before it is published."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

__all__ = ["last_part", "quoted", "redact_option_file", "redact_path"]

PRIVATE_PATH = re.compile(
    r"""
    (?<!\w)[A-Za-z]:[\\/]               # a Windows drive
    | (?<![\w\\])\\\\(?=\w)             # a Windows share
    | (?<![\w./:)\]}>*?%-])//?(?=[^\s/])    # an absolute POSIX path
    | (?<=:)/(?=[^\s/])                 # the same behind the name of a machine or a key
    | (?<![\w.])\.\.(?:[\\/]|$)         # a relative path that leaves its folder
    | ~[\w.-]*[\\/]                     # a home folder
    | \$\{?\w+\}?[\\/] | %\w+%[\\/]     # the same, or another folder, by an environment variable
    | \b(?!(?:https?|hf)://)[A-Za-z][A-Za-z0-9+.-]*://   # addresses that are not on the public web
    | \bhttps?://[^\s/@]*@              # a name and a password in an address
    | (?<![\w/.-])[\w.-]+@[\w.-]+:(?=\S)    # a path on another machine
    """,
    re.VERBOSE,
)
"""Start of a path or address that is private."""
HOME = re.compile(r"(?:/home|/Users|[A-Za-z]:[\\/]Users)[\\/]+[^\\/]+[\\/]*|~[^\\/]*[\\/]*")
"""A home folder, whose last part is the name of a person."""
SECRET_NAMES = "token|password|passwd|pwd|passphrase|secrets?|credentials?|authorization|auth|cookie"
SECRET_KEY = rf"(?:\w*[_-])?(?:{SECRET_NAMES}|(?:api|access|auth|secret|private|wandb)[_-]?key)"
SECRET_KEYS = re.compile(SECRET_KEY, re.IGNORECASE)
"""Keys whose values are secrets, such as `api_key`, `hf_token` and `password`."""
SECRET_ENTRY = re.compile(rf"(?<![\w-])(?:{SECRET_KEY})[\"']?\s*[:=]", re.IGNORECASE)
"""Entry of such a key, in a comment."""
SECRET_VALUE = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{30,}|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{22,}|AKIA[A-Z0-9]{16}"
    r"|sk-(?=[\w-]*\d)[\w-]{32,}|xox[abp]-[\w-]{16,})"
)
"""Token of a known service. Names such as "hf_super_resolution_x4" have other characters."""
_SETTINGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))
"""Tags of values that are no secrets under keys of secrets."""
REMOVED = "removed"
"""Text in place of a secret."""


def redact_path(text: str) -> str:
    """Reduces a text to what is not private: a path to its last name; other texts are unchanged.

    Text before the path is kept. Everything between the start of the first path and the last separator is
    removed, because a path may contain spaces. Secrets are removed as well.
    """
    if entry := SECRET_ENTRY.search(text):
        text = f"{text[: entry.end()]} {REMOVED}"
    text = SECRET_VALUE.sub(REMOVED, text)
    while start := PRIVATE_PATH.search(text):
        path = text[start.start() :]
        last = "~" if HOME.fullmatch(path) else last_part(path)
        text = text[: start.start()] + ("" if PRIVATE_PATH.search(last) else last)
    return text


def last_part(path: str) -> str:
    """Returns the last part of a POSIX or Windows path, which may end with a separator."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def redact_option_file(text: str) -> str:
    """Removes private paths, secrets, and the comments that contain any; the rest is unchanged.

    Args:
        text: an option file, valid YAML.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return ""
    edited = _edit(text, _redact_nodes(root))
    expected: str = yaml.serialize(root, Dumper=yaml.SafeDumper, allow_unicode=True)
    is_clean = not (PRIVATE_PATH.search(edited) or SECRET_VALUE.search(edited))
    if is_clean and _equals(edited, expected):
        return edited
    return expected  # without comments and the layout of the lines


def _equals(edited: str, expected: str) -> bool:
    """Returns True if two YAML texts have the same content; the first may be invalid."""
    try:
        return bool(yaml.safe_load(edited) == yaml.safe_load(expected))
    except yaml.YAMLError:
        return False


def _redact_nodes(root: yaml.Node) -> dict[int, str]:
    """Redacts the scalars below a node; returns the new value by the position where the old one ends."""
    values: dict[int, str] = {}
    for node, is_secret in _scalars(root, set()):
        is_setting = node.tag in _SETTINGS or not node.value  # such as `num_token: 64`
        value = REMOVED if is_secret and not is_setting else redact_path(node.value)
        if value != node.value:
            node.value, node.tag, node.style = value, "tag:yaml.org,2002:str", None
            values[node.end_mark.index] = value
    return values


def _scalars(
    node: yaml.Node, seen: set[int], *, is_secret: bool = False
) -> Iterator[tuple[yaml.ScalarNode, bool]]:
    """Yields the scalars below a node, keys too, and for each True if it is the value of a secret key."""
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        yield node, is_secret
    elif isinstance(node, yaml.SequenceNode):
        for inner in node.value:
            yield from _scalars(inner, seen, is_secret=is_secret)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            names_secret = isinstance(key, yaml.ScalarNode) and SECRET_KEYS.fullmatch(key.value) is not None
            yield from _scalars(key, seen)
            yield from _scalars(value, seen, is_secret=is_secret or names_secret)


def _edit(text: str, values: dict[int, str]) -> str:
    """Replaces scalars of a YAML text, and removes private comments."""
    parts, done = [], 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        start, end = token.start_mark.index, token.end_mark.index
        parts.append(_without_private_comments(text[done:start], starts_line=text[:done][-1:] in ("", "\n")))
        old = text[start:end]
        if isinstance(token, yaml.ScalarToken) and end in values:
            line_break = "\n" if old.endswith("\n") else ""  # a block scalar contains its line break
            parts.append(quoted(values[end]) + line_break)
        else:
            parts.append(old)
        done = end
    return "".join(parts)  # the last token is the end of the stream


def _without_private_comments(gap: str, *, starts_line: bool) -> str:
    """Removes private comments between two tokens, with their lines if nothing else is there."""
    lines: list[str] = []
    for line in gap.splitlines(keepends=True):
        before, sign, comment = line.partition("#")
        if sign and redact_path(comment) != comment:
            is_whole_line = (starts_line or bool(lines)) and not before.strip()
            line = "" if is_whole_line else before.rstrip() + ("\n" if line.endswith("\n") else "")
        lines.append(line)
    return "".join(lines)


def quoted(value: str) -> str:
    """Writes a string as a YAML scalar of one line, for any place in a document."""
    return yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=float("inf"))[1:-2]

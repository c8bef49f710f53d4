# SPDX-License-Identifier: Apache-2.0
"""C++ source as tokens, without comments and with literals blanked; enough for rules of style."""
import dataclasses
import re

_TOKEN = re.compile(r"""
    (?P<space>\s+)
  | (?P<comment>//[^\n]*|/\*.*?\*/)
  | (?P<raw>(?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)")
  | (?P<string>(?:u8|[uUL])?"(?:\\.|[^"\\\n])*")
  | (?P<char>(?:u8|[uUL])?'(?:\\.|[^'\\\n])*')
  | (?P<number>\.?\d(?:'?[\w.]|(?<=[eEpP])[+-])*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<punct>->|::|&&|\|\||<<=|<=>|<=|>=|==|!=|\+=|-=|\*=|/=|%=|&=|\|=|\^=|\+\+|--|<<|.)
""", re.X | re.S)

# #include and other directives are lines of their own and not part of any statement.
_DIRECTIVE = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)


@dataclasses.dataclass
class Token:
    text: str
    line: int


def tokens(source):
    source = _DIRECTIVE.sub(lambda match: "\n" * match.group(0).count("\n"), source)
    found = []
    line = 1
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup if match.lastgroup != "delimiter" else "raw"
        text = match.group(0)
        if kind in ("string", "raw"):
            found.append(Token('""', line))
        elif kind == "char":
            found.append(Token("''", line))
        elif kind not in ("space", "comment"):
            found.append(Token(text, line))
        line += text.count("\n")
    return found


_SPECIFIERS = {"const", "noexcept", "override", "final", "mutable", "&", "&&"}
_OPEN = {"(": ")", "[": "]", "{": "}"}


def pairs(stream):
    """The index of each bracket's partner, and for each token that of the bracket around it (-1)."""
    partner = {}
    around = []
    stack = []
    for index, token in enumerate(stream):
        if token.text in (")", "]", "}") and stack:
            partner[stack[-1]] = index
            partner[index] = stack.pop()
        around.append(stack[-1] if stack else -1)
        if token.text in _OPEN:
            stack.append(index)
    return partner, around


def head_start(stream, partner, brace):
    """Where the head of the block at `brace` starts to be of interest: before it, skipping a trailing return type and
    specifiers, at the `)` of its parameters or condition; None if there is none."""
    index = brace - 1
    arrow = None
    depth = 0
    probe = index
    # A trailing return type: back to `->` over words, `::`, `<...>`, `*`, `&`.
    while probe >= 0 and (stream[probe].text in ("::", "<", ">", ",", "*", "&", "->")
                          or re.match(r"\w", stream[probe].text)):
        if stream[probe].text == "->":
            arrow = probe
            break
        depth += 1
        if depth > 40:
            break
        probe -= 1
    if arrow is not None:
        index = arrow - 1
    while index >= 0 and stream[index].text in _SPECIFIERS:
        index -= 1
    return index if index >= 0 and stream[index].text in (")", "]") else None


def is_block(stream, partner, brace):
    """Whether a `{` opens statements, not an initialiser."""
    if brace == 0:
        return True
    before = stream[brace - 1].text
    if before in (";", "{", "}", "else", "do", "try", ")", ":"):
        return True
    return head_start(stream, partner, brace) is not None


def lambda_captures(stream, partner, brace):
    """The text between the `[` and `]` of the lambda whose body opens at `brace`, else None."""
    end = head_start(stream, partner, brace)
    if end is None:
        return None
    if stream[end].text == ")":
        start = partner.get(end)
        if start is None or start == 0 or stream[start - 1].text != "]":
            return None
        end = start - 1
    start = partner.get(end)
    if start is None:
        return None
    # `x[i]` and `delete[]` are not lambdas.
    if start > 0 and (re.match(r"\w", stream[start - 1].text) and
                      stream[start - 1].text not in ("return", "co_return", "co_await")
                      or stream[start - 1].text in (")", "]")):
        return None
    return " ".join(token.text for token in stream[start + 1:end])

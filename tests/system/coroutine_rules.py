# SPDX-License-Identifier: Apache-2.0
"""The repository's rules for coroutines, enforced by a scanner. Why: GCC 12 miscompiles co_await in conditions and with
some temporaries, and a lambda's captures are destroyed before a coroutine created from it ends."""
from cpp_tokens import is_block, lambda_captures, pairs, tokens

_STATEMENT_STARTS = {";", "{", "}", "else", "do", ":"}
_CONDITIONAL = {"&&", "||", "?"}


def _starts_statement(stream, partner, index):
    before = stream[index - 1]
    if before.text in _STATEMENT_STARTS:
        return True
    if before.text != ")":
        return False
    # The `)` of an if, for or while: what follows is a statement.
    opening = partner.get(index - 1)
    return opening is not None and opening > 0 and stream[opening - 1].text in (
        "if", "for", "while", "constexpr")


def _statement_start(stream, partner, around, index):
    """The index of the first token of the statement that holds `index`, on its own level."""
    start = index
    while start > 0 and around[start - 1] == around[index]:
        before = stream[start - 1].text
        if before == ";" or before == "}" and is_block(stream, partner, partner[start - 1]):
            break
        start = partner[start - 1] if before in (")", "]", "}") else start - 1
    return start


def _await_problem(stream, partner, around, index):
    enclosing = around[index]
    if enclosing >= 0 and not (stream[enclosing].text == "{" and
                               is_block(stream, partner, enclosing)):
        return "co_await inside brackets, a condition, a loop header or a macro"
    before = stream[index - 1].text
    if before in ("=", "+="):
        start = _statement_start(stream, partner, around, index)
        head = {token.text for token in stream[start:index - 1]}
        if head & _CONDITIONAL:
            return "co_await in a conditional expression"
    elif before != "co_return" and not _starts_statement(stream, partner, index):
        return f"co_await after '{before}'"
    probe = index + 1
    while probe < len(stream) and stream[probe].text != ";":
        text = stream[probe].text
        if text in _CONDITIONAL:
            return "co_await in a conditional expression"
        if text in ("(", "[", "{"):
            end = partner.get(probe, probe)
            for inner in range(probe, end):
                if stream[inner].text in ("{", ",") and stream[inner + 1].text == "." and \
                        stream[around[inner + 1]].text == "{":
                    return "a designated initialiser inside an awaited expression"
                if stream[inner].text in ("(", ",") and stream[inner + 1].text == "{" and \
                        partner.get(inner + 1) == inner + 2:
                    return "{} as an argument inside an awaited expression"
            probe = end
        probe += 1
    return None


def _body_is_coroutine(stream, partner, around, brace):
    """Whether the block at `brace` awaits or co_returns itself, not in a lambda inside it."""
    for index in range(brace + 1, partner.get(brace, len(stream))):
        if stream[index].text not in ("co_await", "co_return", "co_yield"):
            continue
        outer = around[index]
        while outer > brace and not (stream[outer].text == "{" and
                                     lambda_captures(stream, partner, outer) is not None):
            outer = around[outer]
        if outer == brace:
            return True
    return False


def problems(source):
    """[(line, what)] for each position of C++ source that breaks a rule."""
    stream = tokens(source)
    if not any(token.text.startswith("co_") for token in stream):
        return []
    partner, around = pairs(stream)
    found = []
    for index, token in enumerate(stream):
        if token.text == "co_await" and stream[index - 1].text != "operator":
            problem = _await_problem(stream, partner, around, index)
            if problem:
                found.append((token.line, problem))
        if token.text == "{" and lambda_captures(stream, partner, index) not in (None, "") and \
                _body_is_coroutine(stream, partner, around, index):
            found.append((token.line, "a capturing lambda is a coroutine"))
    return found


# The scanner's own tests: source and whether it breaks a rule.
SAMPLES = [
    ("Task<void> f() { co_await g(); }", False),
    ("Task<int> f() { const int x = co_await g(1, a.b); co_return x; }", False),
    ("Task<int> f() { co_return co_await g(); }", False),
    ("Task<void> f() { if (a) co_await g(); else co_await h(); }", False),
    ("Task<void> f() { for (int i = 0; i < 3; ++i) { x = co_await g(Foo(i)); } }", False),
    ("Task<void> f() { auto t = [](int a) -> Task<int> { co_return co_await g(a); }; }", False),
    ("Task<void> f() { switch (a) { case 1: co_await g(); break; } }", False),
    ("Task<void> f() { a.b[3] = co_await g(); }", False),
    ("Task<void> f() { s = \"co_await in text && (\"; } // if (co_await x)", False),
    ("Task<void> f() { bool b = a && c; x = co_await g(); }", False),
    ("Task<void> f() { try { co_await g(); } catch (const Error& e) { co_await h(); } }", False),
    ("Task<void> f() { run([&] { return 1; }); co_await g(); }", False),
    ("Task<void> f() { auto s = [&](int a) { return a; }; co_await g(s(1)); }", False),
    ("Task<void> f() { total += co_await g(); }", False),
    ("auto operator co_await() && noexcept { return 1; }", False),
    ("Task<void> f() { if (co_await g()) h(); }", True),
    ("Task<void> f() { while (co_await g()) {} }", True),
    ("Task<void> f() { for (auto x = co_await g(); x; ) {} }", True),
    ("Task<void> f() { if (auto x = co_await g(); x) {} }", True),
    ("Task<void> f() { for (auto& x : co_await g()) {} }", True),
    ("Task<void> f() { switch (co_await g()) {} }", True),
    ("Task<void> f() { const bool x = a && co_await g(); }", True),
    ("Task<void> f() { const bool x = co_await g() && a; }", True),
    ("Task<void> f() { const int x = a ? co_await g() : 1; }", True),
    ("Task<void> f() { const int x = co_await g() ? 1 : 2; }", True),
    ("Task<void> f() { EXPECT_EQ(co_await g(), 1); }", True),
    ("Task<void> f() { h(co_await g()); }", True),
    ("Task<void> f() { (co_await g()).h(); }", True),
    ("Task<void> f() { if (!a) x = !co_await g(); }", True),
    ("Task<void> f() { const int x = 1 + co_await g(); }", True),
    ("Task<void> f() { co_await g(Options{.size = 1}); }", True),
    ("Task<void> f() { co_await g(a, {}); }", True),
    ("Task<void> f() { const X x = co_await g({}, a); }", True),
    ("Task<void> f() { co_await g(X{}, h(a)); }", False),
    ("Task<void> f() { auto t = [&] (int a) -> Task<void> { co_await g(a); }; }", True),
    ("Task<void> f() { auto t = [this]() -> Task<void> { co_return; }; }", True),
    ("Task<void> f() { auto t = [x] -> Task<void> { co_await g(x); }; }", True),
    ("Task<void> f() { return co_await g(), h(); }", True),
]


def self_test():
    """Samples that the scanner judges wrongly."""
    return [source for source, bad in SAMPLES if bool(problems(source)) != bad]

"""Mutation operators on C: each finds the places of one kind of plausible fault in a source file.

The parser is tree-sitter's. Kernel C has two constructs that a parser without a preprocessor misreads: loop macros
(`list_for_each_entry(…) {`) and annotations between a function's parameters and its body. `parsable` replaces both by
standard C of the same length, so that positions stay valid; the text of mutants comes from the original.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tree_sitter
import tree_sitter_c

LANGUAGE = tree_sitter.Language(tree_sitter_c.language())
Node = tree_sitter.Node

# An operator's finding: the bytes that it replaces, and what by.
Edit = tuple[int, int, bytes]

# Families whose members a tired author confuses. A swap stays within a family, and within what the sources use.
FAMILIES = [
    re.compile(pattern)
    for pattern in [
        r"MPTCP_MIB_\w+", r"MPTCP_EVENT_\w+", r"MPTCP_ATTR_\w+", r"MPTCP_PM_ADDR_FLAG_\w+", r"MPTCP_PM_ADDR_ATTR_\w+",
        r"MPTCP_PM_(ATTR|ENDPOINT)_\w+", r"MPTCP_PM_(ADD|RM|ESTABLISHED|SUBFLOW|MPC|ALREADY)_\w+", r"MPTCPOPT_\w+",
        r"OPTION_MPTCP_\w+", r"MPTCP_SUBFLOW_FLAG_\w+", r"MPTCP_SUBFLOW_ATTR_\w+", r"MPTCP_INFO_FLAG_\w+",
        r"MPTCP_RST_E\w+", r"MPTCP_CAP_\w+", r"MPTCP_DSS_\w+", r"TCPOLEN_MPTCP_\w+", r"TCPF?_(ESTABLISHED|SYN_\w+|"
        r"FIN_\w+|CLOSE\w*|LAST_ACK|LISTEN|CLOSING|TIME_WAIT)", r"E[A-Z]{3,}", r"AF_INET6?", r"SOL_\w+", r"SO_\w+",
        r"IPV6_\w+", r"IP_\w+", r"TCP_(NODELAY|CORK|KEEP\w+|CONGESTION|ULP|INQ|MAXSEG|NOTSENT\w+|DEFER\w+|FASTOPEN\w*)",
        r"(RCV|SEND)_SHUTDOWN", r"MPTCP_(PUSH_PENDING|CLEAN_UNA|ERROR_REPORT|RETRANSMIT|FLUSH_JOIN_LIST|CONNECTED|"
        r"SYNC_STATE|SYNC_SNDBUF|WORK_\w+|FALLBACK_DONE|NOSPACE|DEQUEUE)",
    ]
]

# The two ends of a connection, and the two directions.
ENDS = [
    ("local", "remote"), ("loc", "rem"), ("saddr", "daddr"), ("sport", "dport"), ("src", "dst"), ("snd", "rcv"),
    ("sndr", "rcvr"), ("rx", "tx"), ("client", "server"),
]
PAIRS = {a: b for pair in [("min", "max"), ("min_t", "max_t"), ("before", "after"), ("before64", "after64")]
         for a, b in (pair, pair[::-1])}
COMPARISONS = {"<": b"<=", "<=": b"<", ">": b">=", ">=": b">"}

# What is said to people, or checked for developers, is no behaviour.
MESSAGES = re.compile(
    r"pr_\w+|net_\w+_ratelimited|(GENL|NL)_SET_\w+|WARN\w*|DEBUG_NET_WARN\w*|BUILD_BUG\w*|trace_\w+|lockdep_\w+|"
    r"msk_owned_by_me|sock_owned_by_me|might_sleep|mptcp_data_lock_held|static_assert"
)
# A dropped lock deadlocks or races: no scenario can say anything sensible about that.
LOCKS = re.compile(r"\w*(lock|unlock|lock_bh|unlock_bh|lock_nested|lock_fast)(_\w+)?|release_sock|local_bh_\w+|rcu_\w+|sock_\w*lock\w*")
UPDATES = re.compile(
    r"_*(set|clear|change|assign)_bit|_*test_and_(set|clear)_bit|WRITE_ONCE|bitmap_\w+|\w+_(inc|dec)|\w*(INC|DEC|ADD)_STATS|"
    r"atomic\w*_\w+|smp_store_\w+"
)

LOOP = re.compile(rb"\b\w*for_each\w*(?=\()")
ANNOTATION = re.compile(rb"(?<=\))(\s+)(__(?:must_hold|acquires|releases|must_check|cold)(?:\([^)]*\))?)(?=\s*\{)")


def parsable(source: bytes) -> bytes:
    """The source with kernel constructs replaced by standard C of the same length."""
    source = LOOP.sub(lambda found: b"while".ljust(len(found[0])), source)
    return ANNOTATION.sub(lambda found: re.sub(rb"[^\n]", b" ", found[0]), source)


@dataclass
class Source:
    """A source file: its text, its tree, and the identifiers of the whole folder."""

    text: bytes
    identifiers: set[str]

    def __post_init__(self) -> None:
        self.tree = tree_sitter.Parser(LANGUAGE).parse(parsable(self.text))

    def of(self, node: Node) -> bytes:
        return self.text[node.start_byte : node.end_byte]


def walk(node: Node) -> Iterator[Node]:
    """The node and all nodes below it, in the order of the text, without messages."""
    if node.type == "call_expression" and MESSAGES.fullmatch(callee(node)):
        return
    yield node
    for child in node.children:
        yield from walk(child)


def callee(call: Node) -> str:
    function = call.child_by_field_name("function")
    return function.text.decode() if function and function.type == "identifier" else ""


def function_name(definition: Node) -> str | None:
    node = definition.child_by_field_name("declarator")
    while node and node.type != "identifier":
        node = node.child_by_field_name("declarator")
    return node.text.decode() if node else None


def statement(node: Node) -> Node | None:
    """The expression of an expression statement."""
    return node.named_children[0] if node.type == "expression_statement" and node.named_children else None


def operator(node: Node) -> str:
    found = node.child_by_field_name("operator")
    return found.type if found else ""


def negate_condition(source: Source, node: Node) -> Iterator[Edit]:
    """`if (a)` → `if (!(a))`; `==` ↔ `!=` and `!a` → `a` within a larger expression."""
    if node.type in ("if_statement", "conditional_expression"):
        condition = node.child_by_field_name("condition")
        text = source.of(condition)
        if condition.type != "parenthesized_expression":
            text = b"(" + text + b")"
        yield condition.start_byte, condition.end_byte, b"(!" + text + b")"
    elif node.parent and node.parent.type not in ("parenthesized_expression", "conditional_expression"):
        if operator(node) in ("==", "!="):
            sign = node.child_by_field_name("operator")
            yield sign.start_byte, sign.end_byte, b"!=" if sign.type == "==" else b"=="
        elif node.type == "unary_expression" and operator(node) == "!":
            argument = node.child_by_field_name("argument")
            if operator(argument) != "!":
                yield node.start_byte, node.end_byte, b"!!" + source.of(argument)


def operands(source: Source, node: Node, signs: tuple[str, ...]) -> Iterator[Edit]:
    """Drops either operand of a binary expression; the lines in between stay."""
    if node.type == "binary_expression" and operator(node) in signs:
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        yield left.end_byte, right.end_byte, b""
        yield left.start_byte, right.start_byte, b""


def drop_condition(source: Source, node: Node) -> Iterator[Edit]:
    """`a && b` → `a` or `b`; the same with `||`."""
    yield from operands(source, node, ("&&", "||"))


def drop_flag(source: Source, node: Node) -> Iterator[Edit]:
    """`A | B` → `A` or `B`."""
    yield from operands(source, node, ("|",))


def off_by_one(source: Source, node: Node) -> Iterator[Edit]:
    """`<` ↔ `<=`, `>` ↔ `>=`."""
    if node.type == "binary_expression" and operator(node) in COMPARISONS:
        sign = node.child_by_field_name("operator")
        yield sign.start_byte, sign.end_byte, COMPARISONS[sign.type]


def drop_update(source: Source, node: Node) -> Iterator[Edit]:
    """Drops a statement that increments, decrements, sets or clears something other than a local variable."""
    expression = statement(node)
    if expression is None:
        return
    if expression.type == "assignment_expression":
        left = expression.child_by_field_name("left")
        dropped = left.type != "identifier" or operator(expression) != "="
    else:
        dropped = expression.type == "update_expression" or (
            expression.type == "call_expression" and UPDATES.fullmatch(callee(expression)) is not None
        )
    if dropped:
        yield node.start_byte, node.end_byte, b";"


def drop_call(source: Source, node: Node) -> Iterator[Edit]:
    """Drops a call whose result isn't used."""
    expression = statement(node)
    if expression is not None and expression.type == "call_expression":
        name = callee(expression)
        if not (UPDATES.fullmatch(name) or LOCKS.fullmatch(name) or MESSAGES.fullmatch(name)):
            yield node.start_byte, node.end_byte, b";"


def swap_constant(source: Source, node: Node) -> Iterator[Edit]:
    """The next constant of the same family, of those that the sources use."""
    if node.type != "identifier" or (node.parent and node.parent.type == "case_statement"):
        return
    name = node.text.decode()
    for family in FAMILIES:
        if family.fullmatch(name):
            members = sorted(other for other in source.identifiers if family.fullmatch(other))
            other = members[(members.index(name) + 1) % len(members)] if name in members else name
            if other != name:
                yield node.start_byte, node.end_byte, other.encode()
            return


def swap_ends(source: Source, node: Node) -> Iterator[Edit]:
    """Local ↔ remote, source ↔ destination, sent ↔ received, where the folder knows the other name."""
    if node.type not in ("identifier", "field_identifier") or (node.parent and "declarat" in node.parent.type):
        return
    words = re.split(r"(_)", node.text.decode())
    for one, two in [*ENDS, *(pair[::-1] for pair in ENDS)]:
        other = "".join(two if word == one else word for word in words)
        if other != node.text.decode() and other in source.identifiers:
            yield node.start_byte, node.end_byte, other.encode()
            return


def swap_min_max(source: Source, node: Node) -> Iterator[Edit]:
    """`min` ↔ `max`, `before` ↔ `after`."""
    if node.type == "call_expression" and callee(node) in PAIRS:
        function = node.child_by_field_name("function")
        yield function.start_byte, function.end_byte, PAIRS[callee(node)].encode()


def change_arithmetic(source: Source, node: Node) -> Iterator[Edit]:
    """`+` ↔ `-`, in expressions and in assignments."""
    signs = {"+": b"-", "-": b"+", "+=": b"-=", "-=": b"+="}
    if node.type in ("binary_expression", "assignment_expression") and operator(node) in signs:
        sign = node.child_by_field_name("operator")
        yield sign.start_byte, sign.end_byte, signs[sign.type]


def return_early(source: Source, node: Node) -> Iterator[Edit]:
    """A function that returns at once: nothing, 0, false or NULL."""
    if node.type == "function_definition":
        body = node.child_by_field_name("body")
        pointer = node.child_by_field_name("declarator").type == "pointer_declarator"
        kind = node.child_by_field_name("type").text
        value = b" NULL" if pointer else b"" if kind == b"void" else b" 0"
        yield body.start_byte + 1, body.start_byte + 1, b" return" + value + b";"


def change_return(source: Source, node: Node) -> Iterator[Edit]:
    """`return true` ↔ `return false`, `return -EINVAL` → `return 0`."""
    if node.type == "return_statement" and node.named_children:
        value = node.named_children[0]
        text = source.of(value)
        other = {b"true": b"false", b"false": b"true"}.get(text)
        if re.fullmatch(rb"-E[A-Z]+\w*", text):
            other = b"0"
        if other:
            yield value.start_byte, value.end_byte, other


def loop_exit(source: Source, node: Node) -> Iterator[Edit]:
    """`continue` ↔ `break`, in loops."""
    if node.type in ("continue_statement", "break_statement"):
        around = node.parent
        while around and around.type not in ("while_statement", "for_statement", "do_statement", "switch_statement"):
            around = around.parent
        if around and around.type != "switch_statement":
            yield node.start_byte, node.end_byte, b"break;" if node.type == "continue_statement" else b"continue;"


OPERATORS: dict[str, Callable[[Source, Node], Iterator[Edit]]] = {
    "negate-condition": negate_condition,
    "drop-condition": drop_condition,
    "off-by-one": off_by_one,
    "drop-update": drop_update,
    "drop-call": drop_call,
    "drop-flag": drop_flag,
    "swap-constant": swap_constant,
    "swap-ends": swap_ends,
    "swap-min-max": swap_min_max,
    "change-arithmetic": change_arithmetic,
    "return-early": return_early,
    "change-return": change_return,
    "loop-exit": loop_exit,
}


@dataclass(frozen=True)
class Mutant:
    """One edit of one file. Its id stays the same as long as the function does."""

    file: str
    function: str
    operator: str
    number: int
    line: int
    start: int
    end: int
    text: bytes

    @property
    def id(self) -> str:
        return f"{self.file.removesuffix('.c')}-{self.function}-{self.operator}-{self.number}"

    def apply(self, source: bytes) -> bytes:
        """The mutated source, with as many lines as before: a line number is no change."""
        lost = source[self.start : self.end].count(b"\n") - self.text.count(b"\n")
        return source[: self.start] + self.text + b"\n" * lost + source[self.end :]


def identifiers(texts: list[bytes]) -> set[str]:
    """All identifiers of some sources."""
    return {word.decode() for text in texts for word in re.findall(rb"\b[A-Za-z_]\w*\b", text)}


def mutants(file: str, text: bytes, known: set[str]) -> list[Mutant]:
    """All mutants of one file, in the order of its functions and operators."""
    source = Source(text, known)
    found = []
    numbers: Counter[tuple[str, str]] = Counter()
    for definition in walk(source.tree.root_node):
        if definition.type != "function_definition" or not (name := function_name(definition)):
            continue
        for kind, edits in OPERATORS.items():
            places = set()
            for node in walk(definition):
                if node.has_error and node.type != "function_definition":
                    continue
                for start, end, new in edits(source, node):
                    if (start, end) not in places:
                        places.add((start, end))
                        # Both definitions of a function that has one with and one without an option count on.
                        numbers[name, kind] += 1
                        line = text.count(b"\n", 0, start) + 1
                        found.append(Mutant(file, name, kind, numbers[name, kind], line, start, end, new))
    return found

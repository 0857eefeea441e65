"""Small faults in a module, one at a time: what mutation testing puts in to see tests fail.

Comparisons, boolean and arithmetic operators, constants, conditions, returned values, statements
and the order of arguments are changed. Left alone: docstrings, annotations, what only type checkers
read, ``__slots__``, imports, ``__all__`` (which only ``import *`` reads, and nobody may say that),
and the wording of messages (f-strings, strings of several words).

>>> source = "def f(a, b):\\n    return a < b\\n"
>>> [mutant.what for mutant in find(source)]
['return a < b → return None', 'a < b → a <= b', 'a < b → a >= b']
>>> ast.unparse(apply(source, find(source)[1]))
'def f(a, b):\\n    return a <= b'
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Place = tuple[tuple[str, int], ...]
Function = ast.FunctionDef | ast.AsyncFunctionDef

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: which node (``place``, fields and indices from the module on) becomes what.

    ``first`` and ``last`` are the lines of the statement that it is in. ``function`` is the path of
    the outermost function or method whose body it is in; empty when it takes effect at import.
    """

    number: int
    first: int
    last: int
    what: str
    function: tuple[str, ...]
    place: Place
    node: ast.AST


@dataclass(frozen=True, slots=True)
class _Where:
    place: Place
    first: int = 0
    last: int = 0
    names: tuple[str, ...] = ()
    function: tuple[str, ...] = ()

    def of(self, statement: ast.stmt) -> _Where:
        if hasattr(statement, "body"):  # its head; what is inside are statements of their own
            inner = statement.body[0].lineno if statement.body else statement.lineno
            last = max(statement.lineno, inner - 1)
        else:
            last = statement.end_lineno or statement.lineno
        return _Where(self.place, statement.lineno, last, self.names, self.function)

    def at(self, field: str, index: int) -> _Where:
        place = (*self.place, (field, index))
        return _Where(place, self.first, self.last, self.names, self.function)

    def inside(self, name: str, *, is_function: bool) -> _Where:
        names = (*self.names, name)
        function = self.function or (names if is_function else ())
        return _Where(self.place, self.first, self.last, names, function)


def find(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    found: list[Mutant] = []
    for where, old, new in _walk(ast.parse(source), _Where(())):
        before, after = _text(old), _text(new)
        if before != after:
            what = f"{before} → {after}"
            place, function = where.place, where.function
            number = len(found)
            found.append(Mutant(number, where.first, where.last, what, function, place, new))
    return found


def apply(source: str, mutant: Mutant) -> ast.Module:
    """The module with the fault in it."""
    tree = ast.parse(source)
    holder: ast.AST = tree
    *way, (field, index) = mutant.place
    for name, number in way:
        value = getattr(holder, name)
        holder = value[number] if number >= 0 else value
    new = copy.deepcopy(mutant.node)
    if index >= 0:
        getattr(holder, field)[index] = new
    else:
        setattr(holder, field, new)
    return ast.fix_missing_locations(tree)


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH // 2]}…{text[-_LENGTH // 2 :]}"


def _walk(node: ast.AST, where: _Where) -> Iterator[tuple[_Where, ast.AST, ast.AST]]:
    for field, index, child in _children(node):
        if _is_left_alone(node, field, index, child):
            continue
        inner = where.at(field, index)
        if isinstance(child, ast.stmt):
            inner = inner.of(child)
        if isinstance(node, ast.ClassDef) and field == "body":
            inner = inner.inside(node.name, is_function=False)
        if isinstance(node, Function) and field == "body":
            inner = inner.inside(node.name, is_function=True)
        for new in _mutations(child, field):
            yield inner, child, ast.copy_location(new, child)
        yield from _walk(child, inner)


def _children(node: ast.AST) -> Iterator[tuple[str, int, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield field, -1, value
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield field, index, item


def _is_left_alone(parent: ast.AST, field: str, index: int, child: ast.AST) -> bool:
    if field in ("annotation", "returns", "decorator_list", "type_params", "format_spec"):
        return True
    if isinstance(child, ast.Import | ast.ImportFrom | ast.JoinedStr):
        return True
    if isinstance(child, ast.If) and _names(child.test, "TYPE_CHECKING"):
        return True
    if isinstance(child, ast.Assign):
        names = ("TYPE_CHECKING", "__slots__", "__all__")
        return any(_names(target, *names) for target in child.targets)
    is_text = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
    return is_text and index == 0 and isinstance(parent, ast.Module | ast.ClassDef | Function)


def _names(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Name) and node.id in names


def _mutations(node: ast.AST, field: str) -> Iterator[ast.AST]:
    for kind, mutate in _MUTATIONS.items():
        if isinstance(node, kind):
            yield from mutate(node)
    if field == "test" and not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp):
        yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type]


def _comparison(node: ast.Compare) -> Iterator[ast.AST]:
    for index, operator in enumerate(node.ops):
        for other in _COMPARISONS[type(operator)]:
            operators = [*node.ops[:index], other(), *node.ops[index + 1 :]]
            yield ast.Compare(node.left, operators, node.comparators)


def _boolean(node: ast.BoolOp) -> Iterator[ast.AST]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for index in range(len(node.values)):
        rest = [*node.values[:index], *node.values[index + 1 :]]
        yield rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _unary(node: ast.UnaryOp) -> Iterator[ast.AST]:
    if isinstance(node.op, ast.Not | ast.USub):
        yield node.operand


def _arithmetic(node: ast.BinOp) -> Iterator[ast.AST]:
    if other := _OPERATORS.get(type(node.op)):
        yield ast.BinOp(node.left, other(), node.right)


def _in_place(node: ast.AugAssign) -> Iterator[ast.AST]:
    if other := _OPERATORS.get(type(node.op)):
        yield ast.AugAssign(node.target, other(), node.value)
    yield ast.Pass()


def _constant(node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and not any(map(str.isspace, value.strip())):
        yield ast.Constant(f"{value}X")
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"X")


def _condition(node: ast.IfExp) -> Iterator[ast.AST]:
    yield node.body
    yield node.orelse


def _returned(node: ast.Return) -> Iterator[ast.AST]:
    if node.value is not None:
        yield ast.Return(ast.Constant(None))


def _assigned(node: ast.Assign) -> Iterator[ast.AST]:
    if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
        yield ast.Pass()


def _call(node: ast.Call) -> Iterator[ast.AST]:
    if _names(node.func, "max", "min"):
        return  # whose order means nothing
    for index in range(len(node.args) - 1):
        pair = node.args[index : index + 2]
        if not any(isinstance(one, ast.Starred) for one in pair):
            swapped = [*node.args[:index], pair[1], pair[0], *node.args[index + 2 :]]
            yield ast.Call(node.func, swapped, node.keywords)


def _dropped(_: ast.stmt) -> Iterator[ast.AST]:
    yield ast.Pass()


_MUTATIONS: dict[type[ast.AST], Callable[..., Iterator[ast.AST]]] = {
    ast.Compare: _comparison,
    ast.BoolOp: _boolean,
    ast.UnaryOp: _unary,
    ast.BinOp: _arithmetic,
    ast.AugAssign: _in_place,
    ast.Constant: _constant,
    ast.IfExp: _condition,
    ast.Return: _returned,
    ast.Assign: _assigned,
    ast.Call: _call,
    ast.Expr: _dropped,
    ast.Raise: _dropped,
    ast.Continue: _dropped,
    ast.Break: _dropped,
    ast.Delete: _dropped,
}

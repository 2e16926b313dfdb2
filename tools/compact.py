"""Shorten names in the device library, for the toy's memory.

MicroPython keeps every name that its image does not have in RAM: about 19 bytes each, in a table
that doubles when it is full. Names of arguments, and those that are private to a module, need not
differ from module to module. A traceback shows short names then, and this makes them long again:

    hushbear crashlog | .venv/bin/python -m tools.compact

    library(directory) -> {module: source}
"""

from __future__ import annotations

import ast
import itertools
import re
import string
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

_NATIVE = {"viper", "native", "asm_thumb", "asm_xtensa"}  # they have their own ideas of arguments

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def library(directory: Path) -> dict[str, str]:
    """Return the shortened source of each module below `directory`, by its dotted name. What is
    not Python stays as it is: compiling it says so."""
    sources = read(directory)
    good = {module: source for module, source in sources.items() if _is_python(source)}
    known = keywords(good.values())
    fixed = inherited(good)
    values = {m: constants(source) for m, source in good.items() if _is_constant(source)}
    return sources | {
        module: compact(source, known, fixed[module], values) for module, source in good.items()
    }


def short_names(directory: Path, module: str) -> dict[str, str]:
    """Return what the private names of a module below `directory` become."""
    sources = read(directory)
    return private(sources[module], inherited(sources)[module])


def read(directory: Path) -> dict[str, str]:
    """Return the source of each module below `directory`, by its dotted name."""
    return {module_name(path, directory): path.read_text() for path in directory.rglob("*.py")}


def module_name(path: Path, directory: Path) -> str:
    """Return the dotted name of a module's file."""
    return ".".join(path.relative_to(directory).with_suffix("").parts).removesuffix(".__init__")


def path_of(module: str, directory: Path) -> Path:
    """Return where below `directory` a module's file is."""
    path = Path(*module.split("."))
    return path / "__init__.py" if (directory / path).is_dir() else path.with_suffix(".py")


def lengthen(text: str, directory: Path) -> str:
    """Return a crash log with the names that the functions have in `directory`."""
    sources = read(directory)
    fixed = inherited(sources)

    def name(found: re.Match[str]) -> str:
        module, short = found[1], found[3]
        names = private(sources[module], fixed[module]) if module in sources else {}
        long = {value: key for key, value in names.items()}
        return f'File "{module}"{found[2]}in {long.get(short, short)}'

    return re.sub(r'File "([\w.]+)"(, line \d+, )in (\w+)', name, text)


def _is_python(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def compact(
    source: str,
    keywords: frozenset[str],
    fixed: frozenset[str] = frozenset(),
    values: Mapping[str, Mapping[str, object]] = MappingProxyType({}),
) -> str:
    """Return Python of the same effect with shorter names. `fixed` ones stay, as do arguments that
    are passed by `keywords`. `values` has the constants of modules that hold nothing else: they
    take the place of their names, so that such a module need not be loaded."""
    tree = ast.parse(source)
    _Constants(values).visit(tree)
    for node in ast.walk(tree):
        if isinstance(node, Function) and not _is_native(node):
            _rename_arguments(node, keywords)
    _rename_private(tree, private(source, fixed))
    return ast.unparse(tree) + "\n"


def constants(source: str) -> dict[str, object]:
    """Return the public constants of a module that has nothing else, which is executed."""
    namespace: dict[str, object] = {}
    exec(compile(source, "constants", "exec"), namespace)
    return {n: v for n, v in namespace.items() if n.isupper() and not n.startswith("_")}


class _Constants(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, Mapping[str, object]]) -> None:
        self._modules = values
        self._imported: dict[str, Mapping[str, object]] = {}  # modules, by the name they have here
        self._names: dict[str, object] = {}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        kept = []
        for alias in node.names:
            name = alias.asname or alias.name
            if alias.name in (values := self._modules.get(node.module or "", {})):
                self._names[name] = values[alias.name]
            elif (module := f"{node.module}.{alias.name}") in self._modules:
                self._imported[name] = self._modules[module]
            else:
                kept.append(alias)
        node.names = kept
        return node if kept else None

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id in self._imported:
            return _literal(self._imported[node.value.id][node.attr])
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load) and node.id in self._names:
            return _literal(self._names[node.id])
        return node


def _literal(value: object) -> ast.expr:
    return ast.parse(repr(value), mode="eval").body


def _is_constant(source: str) -> bool:
    body = ast.parse(source).body
    return any(isinstance(each, ast.Assign) for each in body) and all(
        isinstance(each, ast.Import | ast.ImportFrom | ast.Assign)
        or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        for each in body
    )


def keywords(sources: Iterable[str]) -> frozenset[str]:
    """Return every name by which an argument is passed in `sources`."""
    return frozenset(
        node.arg
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.keyword) and node.arg
    )


def inherited(sources: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Return for each module, by dotted name, the private attributes that keep their names: those
    that it has in common with a module that extends its classes, and all where it extends
    another's, as the short ones are the same in every module."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    own = {name: _private_names(tree) for name, tree in trees.items()}
    common: dict[str, set[str]] = {name: set() for name in sources}
    for name, tree in trees.items():
        bases = {
            part.id
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for base in node.bases
            for part in ast.walk(base)
            if isinstance(part, ast.Name)
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            if not bases & {alias.asname or alias.name for alias in node.names}:
                continue
            module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
            for other in (module, *(f"{module}.{alias.name}" for alias in node.names)):
                if other in own:
                    common[name] |= own[name]
                    common[other] |= own[name] & own[other]
    return {name: frozenset(names) for name, names in common.items()}


def _is_native(function: Function) -> bool:
    if isinstance(function, ast.Lambda):
        return False
    return any(
        isinstance(each, ast.Attribute) and each.attr in _NATIVE
        for each in function.decorator_list
    )


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args]


def _rename_arguments(function: Function, keywords: frozenset[str]) -> None:
    body = function.body if isinstance(function.body, list) else [function.body]
    taken = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                taken.add(node.id)
            elif isinstance(node, ast.arg):
                taken.add(node.arg)
            elif isinstance(node, ast.Global | ast.Nonlocal):
                taken.update(node.names)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                taken.add(node.name)
            elif isinstance(node, ast.alias):
                taken.add(node.asname or node.name)
    free = (name for name in string.ascii_lowercase if name not in taken)
    for argument in _arguments(function):
        if argument.arg == "self" or argument.arg in keywords:
            continue
        old, new = argument.arg, next(free)
        argument.arg = new
        for statement in body:
            _replace(statement, old, new)


def _replace(node: ast.AST, old: str, new: str) -> None:
    if isinstance(node, ast.Name) and node.id == old:
        node.id = new
    if isinstance(node, ast.ExceptHandler) and node.name == old:
        node.name = new
    if isinstance(node, Function):
        every = [each.arg for each in ast.walk(node.args) if isinstance(each, ast.arg)]
        if old in every:  # another variable; its default is not
            for default in (*node.args.defaults, *node.args.kw_defaults):
                if default is not None:
                    _replace(default, old, new)
            return
    for child in ast.iter_child_nodes(node):
        _replace(child, old, new)


def _private_names(tree: ast.Module) -> set[str]:
    """Return the private names of a module that memory would hold: attributes, functions and
    classes. Constants are gone when it is compiled."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


def private(source: str, fixed: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return what the private names in a module become."""
    tree = ast.parse(source)
    names = _private_names(tree)
    taken = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} | fixed
    short = (name for name in _short_names() if name not in taken)
    return {name: next(short) for name in sorted(names - fixed)}


def _rename_private(tree: ast.Module, names: dict[str, str]) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            node.attr = names.get(node.attr, node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.name = names.get(node.name, node.name)
        elif isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)


def _short_names() -> Iterator[str]:
    for size in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=size):
            yield "_" + "".join(letters)


if __name__ == "__main__":
    sys.stdout.write(lengthen(sys.stdin.read(), Path(__file__).resolve().parents[1] / "lib"))

"""Figures of the source: `python tests/counts.py [-v] [TREE]`. The tests that hold some of them call the same functions."""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

HERE = Path(__file__).parents[1]

VAGUE = frozenset(
    """
    found place places given said told what known part parts piece pieces rest rests one ones other others thing things
    wanted seen asked kept made taken left here shown way
    """.split()  # noqa: SIM905 - a literal would be thirty lines
)
"""Names that say how a value was come by, or nothing; `column`, `path`, `span` say what it is."""

PRAGMAS = ("# noqa", "# type:", "# fmt:", "#!")

TOUCHED = {
    "a media kind": (
        "mlv/media/{its module}.py", "mlv/media/kinds.py", "schemas/event.schema.json", "schemas/values.md",
        "tests/media/{its test}.py",
    ),
    "an output": (
        "mlv/projections/{its module}.py", "mlv/projections/registry.py", "mlv/projections/__init__.py",
        "docs/guide/outputs.md", "docs/api/outputs.md", "tests/projections/{its test}.py",
    ),
    "a column of mlv ls, from meta.json": ("mlv/cli/row.py", "mlv/cli/ls.py", "tests/cli/test_ls.py"),
    "a column of mlv ls, from the log": ("mlv/cli/row.py", "mlv/cli/overview.py", "mlv/cli/ls.py", "tests/cli/test_ls.py"),
}  # fmt: skip
"""The files that are touched to add something, with its test and schema."""


class Sources:
    """The modules of the package in a tree, parsed."""

    def __init__(self, tree: Path = HERE) -> None:
        paths = sorted((tree / "mlv").rglob("*.py"))
        self.paths = {_module_name(path.relative_to(tree)): path for path in paths}
        self.trees = {name: ast.parse(path.read_bytes()) for name, path in self.paths.items()}

    def lines(self) -> dict[str, int]:
        """Return the number of lines of each module."""
        return {name: path.read_bytes().count(b"\n") for name, path in self.paths.items()}

    def resolved(self, module: str, name: str) -> str:
        """Return `mlv.encoding` for `from mlv import encoding`; `mlv` itself where a public name is meant."""
        return f"{module}.{name}" if f"{module}.{name}" in self.paths else module

    def own(self, node: ast.Import | ast.ImportFrom) -> list[str]:
        """Return the modules of the package that a statement imports."""
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names if alias.name.split(".")[0] == "mlv"]
        module = node.module or ""
        return [self.resolved(module, alias.name) for alias in node.names] if module.split(".")[0] == "mlv" else []

    def needed(self, name: str) -> set[str]:
        """Return the modules that one imports when it is imported or run, and not only for types."""
        return {module for node in imports(self.trees[name], for_types=False) for module in self.own(node)}

    def deferred(self) -> list[tuple[str, ast.Import | ast.ImportFrom, bool]]:
        """Return each import of an own module inside a function, with its module, and whether a reason stands beside it."""
        result = []
        for name, tree in self.trees.items():
            lines = self.paths[name].read_text().splitlines()
            for function in ast.walk(tree):
                if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    nodes = [node for statement in function.body for node in _shallow(statement) if self.own(node)]
                    result += [(name, node, _has_reason(lines, node)) for node in nodes]
        return result

    def circles(self) -> list[list[str]]:
        """Return the groups of modules that import each other, for more than types."""
        edges = {name: self.needed(name) - {"mlv", name} for name in self.trees}
        while ends := {name for name, targets in edges.items() if not targets & edges.keys()}:
            edges = {name: targets for name, targets in edges.items() if name not in ends}
        reached = {name: _reached(edges, name) for name in edges}
        groups = {tuple(sorted(other for other in reached[name] if name in reached[other])) for name in edges}
        return [list(group) for group in sorted(groups) if group]

    def classes(self) -> dict[str, list[str]]:
        """Return the modules of each class, by its name."""
        modules = defaultdict(list)
        for name, tree in self.trees.items():
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    modules[node.name].append(name)
        return modules

    def names(self) -> list[str]:
        """Return each name that a module binds, once for each time."""
        return [name for tree in self.trees.values() for name in bound_names(tree)]

    def comments(self) -> list[str]:
        """Return the comments that are for people."""
        tokens = (token for path in self.paths.values() for token in tokenize.tokenize(io.BytesIO(path.read_bytes()).readline))
        texts = (token.string for token in tokens if token.type == tokenize.COMMENT)
        return [text for text in texts if not text.startswith(PRAGMAS)]

    def lines_beside(self) -> int:
        """Return the number of lines of the texts beside constants and fields, which say what a comment would."""
        bodies = (getattr(node, "body", None) for tree in self.trees.values() for node in ast.walk(tree))
        pairs = (pair for body in bodies if isinstance(body, list) for pair in pairwise(body))
        texts = [text for node, text in pairs if isinstance(node, (ast.Assign, ast.AnnAssign)) and _is_text(text)]
        return sum((text.end_lineno or text.lineno) - text.lineno + 1 for text in texts)


def private_names(path: Path, modules: Container[str]) -> list[str]:
    """Return the private names of modules that a test imports, reads or replaces: their full names, once for each time."""
    tree = ast.parse(path.read_bytes())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and _is_own(node.module or "")]
    imported = [f"{node.module}.{alias.name}" for node in nodes for alias in node.names]
    module_of = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in nodes for alias in node.names}
    texts: list[str] = []
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute):
                texts += [f"{module_of[name]}.{attribute}"] if name in module_of else []
            case ast.Call(func=ast.Attribute(attr="setattr"), args=[ast.Name(id=name), ast.Constant(value=str(attribute)), *_]):
                texts += [f"{module_of[name]}.{attribute}"] if name in module_of else []
            case ast.Constant(value=str(text)) if _is_own(text):
                texts.append(text)
    pairs = [(text.rpartition("."), text) for text in [*imported, *texts]]
    return [text for (module, _, name), text in pairs if module in modules and name.startswith("_") and name[1:2] != "_"]


def _is_own(module: str) -> bool:
    return module.partition(".")[0] == "mlv"


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Yield each name that a module binds, once for each time."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name
            case ast.alias(name=path, asname=name):
                yield name or path.partition(".")[0]


def vague(names: Iterable[str]) -> list[str]:
    """Return the names that say nothing of what is named."""
    return [name for name in names if name.strip("_").lower() in VAGUE]


def imports(tree: ast.AST, *, for_types: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield every import, those inside functions included; those for types only if asked for."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif for_types or not (isinstance(node, ast.If) and ast.unparse(node.test).lstrip("_") == "TYPE_CHECKING"):
            yield from imports(node, for_types=for_types)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _shallow(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports of a statement, without those of functions in it, which are visited by themselves."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield node
    elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        for child in ast.iter_child_nodes(node):
            yield from _shallow(child)


def _has_reason(lines: list[str], node: ast.Import | ast.ImportFrom) -> bool:
    """Return whether a comment stands in the lines of an import, or above the block of imports that it is in."""
    first = node.lineno - 1
    while lines[first - 1].lstrip().startswith(("from ", "import ")):
        first -= 1
    return any("#" in line for line in lines[max(0, first - 1) : node.end_lineno])


def _reached(edges: Mapping[str, set[str]], name: str) -> set[str]:
    reached: set[str] = set()
    ahead = [name]
    while ahead:
        new = edges[ahead.pop()] & edges.keys() - reached
        reached |= new
        ahead += new
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description="Print figures of the source in a tree.")
    parser.add_argument("tree", type=Path, nargs="?", default=HERE)
    parser.add_argument("-v", action="store_true", dest="is_verbose", help="name what is counted")
    options = parser.parse_args()
    sources = Sources(options.tree)
    core = {name: count for name, count in sources.lines().items() if not name.startswith("mlv.compat")}
    names, lines, deferred = sources.names(), sources.lines(), sources.deferred()
    classes = {name: own for name, own in sources.classes().items() if sum(module in core for module in own) > 1}
    bare = [f"{name}:{node.lineno} {ast.unparse(node)}" for name, node, has_reason in deferred if not has_reason]
    comments = sources.comments()
    figures: list[tuple[str, object, Iterable[object]]] = [
        ("modules", len(lines), []),
        ("modules without compat", len(core), []),
        ("lines", sum(lines.values()), []),
        ("lines without compat", sum(core.values()), []),
        ("names of several classes, without compat", len(classes), sorted(classes.items())),
        ("vague names, % of those bound", round(100 * len(vague(names)) / len(names), 2), Counter(vague(names)).most_common()),
        ("own modules imported inside functions", len(deferred), [f"{name}:{node.lineno}" for name, node, _ in deferred]),
        ("of them without a reason", len(bare), bare),
        ("circles of imports, not for types", len(sources.circles()), sources.circles()),
        ("comments, % of lines", round(100 * len(comments) / sum(lines.values()), 2), []),
        ("texts beside constants and fields, % of lines", round(100 * sources.lines_beside() / sum(lines.values()), 2), []),
    ]
    reached = [
        f"{path.name}: {name}"
        for path in sorted((options.tree / "tests").rglob("test_*.py"))
        for name in private_names(path, lines)
        if path.name != "test_layers.py"  # which names the exceptions
    ]
    figures.append(("private names of modules that tests use", len(reached), reached))
    if options.tree == HERE:
        figures += [(f"files touched to add {addition}", len(files), files) for addition, files in TOUCHED.items()]
    for title, figure, details in figures:
        print(f"{title:60} {figure:>9}")
        for detail in details if options.is_verbose else ():
            print(f"    {detail}")


if __name__ == "__main__":
    main()

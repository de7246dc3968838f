"""Names and docstrings say what things are: few vague names, and functions whose docstring begins with a verb."""

from __future__ import annotations

import ast

from counts import Sources, vague

SOURCES = Sources()

SHARE = 0.015
"""Of all bound names so many may be vague: the models in CONTRIBUTING have 0 to 0.3 %."""

VERBS = set(
    """
    Accept Add Announce Append Apply Ask Attach Be Begin Bring Build Call Capture Carry Change Check Choose Close Commit
    Collect Compare Compile Complete Compute Concatenate Configure Convert Copy Count Create Cut Decide Decode
    Delete Describe Discard Display Do Drain Draw Drop Duplicate Emit Encode End Ensure Examine Exchange Explain Find Finish
    Fold Follow Forget Format Fsync Give Go Group Hand Hash Have Hold Implement Import Initialise Install Interrupt Join
    Judge Keep Learn Leave Let Link List Listen Load Lock Log Look Make Map Mark Mask Measure Merge Move Name Note Number
    Open Parse Pass Plot
    Point Prepare Print Publish Push Put Query Raise Read Rebuild Recognise Record Recover Redact Redirect Refuse
    Register Release Remember Remove Rename Render Repeat Replace Report Reserve Resolve Restore Return Rewind Round
    Run Save Say Seal See Select Send Serve Set Settle Share Ship Show Sign Skip Sleep Sort Spell Split Start Store Suggest
    Summarise Summarize Survey Take Tell Time Trace Translate Treat Try Turn Undo Wait Wake Warn Wrap Write Yield
    """.split()  # noqa: SIM905 - one to a line says no more
)
"""What docstrings of functions begin with. A verb that is missing is added; a word that is none is not."""


def is_property(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_few_names_are_vague():
    """A name says what the thing is."""
    names = SOURCES.names()

    assert len(vague(names)) < SHARE * len(names)


def test_docstrings_begin_with_a_verb():
    """The docstring of a function says what it does: its first word is a verb; properties are named."""
    functions = [
        (module, node)
        for module, tree in SOURCES.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_property(node) and ast.get_docstring(node)
    ]

    wrong = [
        f"{module}:{node.lineno} {(ast.get_docstring(node) or '').splitlines()[0]}"
        for module, node in functions
        if (ast.get_docstring(node) or "").split()[0].strip(".,:;") not in VERBS
    ]
    assert wrong == []

"""The tree of errors is the tree that its module draws, and messages say what to do."""

from __future__ import annotations

import inspect

import pytest

from parametric_memory import errors
from parametric_memory.types import Span

RAISED = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


def drawn() -> dict[str, tuple[str, ...]]:
    """Return each error's bases as the module's docstring draws them: its parent, then the builtin in brackets."""
    path: list[str] = []
    tree: dict[str, tuple[str, ...]] = {"ParametricMemoryError": ("Exception",)}
    for line in (errors.__doc__ or "").splitlines():
        if line == "ParametricMemoryError":
            path = [line]
        elif "── " in line:
            branch, _, rest = line.partition("── ")
            name, _, builtin = rest.split()[0].rstrip(")").partition("(")
            path = [*path[: (len(branch) + 3) // 4], name]
            tree[name] = (path[-2], builtin) if builtin else (path[-2],)
    return tree


def test_the_tree_in_the_docstring_is_the_real_tree():
    assert drawn() == {kind.__name__: tuple(base.__name__ for base in kind.__bases__) for kind in RAISED}


@pytest.mark.parametrize("kind", RAISED, ids=lambda kind: kind.__name__)
def test_every_error_is_described_and_named_as_one(kind):
    assert kind.__name__.endswith("Error")
    assert inspect.getdoc(kind)


def test_a_config_error_lists_every_problem_and_is_a_value_error():
    error = errors.ConfigError("the configuration a.toml has 2 problem(s):", problems=["x: not a number", "y: unknown"])
    assert isinstance(error, ValueError)
    assert error.problems == ("x: not a number", "y: unknown")
    assert str(error).splitlines()[1:] == ["  - x: not a number", "  - y: unknown"]


def test_a_missing_dependency_names_the_extra_to_install():
    error = errors.MissingDependencyError("pypdf", extra="pdf", purpose="reading handbook.pdf")
    assert isinstance(error, ImportError)
    assert "reading handbook.pdf" in str(error)
    assert "pip install 'parametric-memory[pdf]'" in str(error)


def test_an_ingest_error_carries_where_it_happened():
    error = errors.ExtractionError("reading atoms", document_id="d1", span=Span(3, 9))
    assert (error.document_id, error.span) == ("d1", Span(3, 9))


def test_a_locked_store_names_its_holder():
    assert errors.StoreLockedError("adding documents", holder="process 12").holder == "process 12"


def test_an_adapter_mismatch_carries_both_sides():
    error = errors.AdapterMismatchError("opening the store", expected="abc", actual="def")
    assert (error.expected, error.actual) == ("abc", "def")


def test_a_missing_atom_can_be_caught_as_a_lookup_error():
    with pytest.raises(LookupError):
        raise errors.AtomNotFoundError("no atom has the id 'x'")

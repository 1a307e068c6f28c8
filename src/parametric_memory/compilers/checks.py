"""What compilers refuse alike: atoms without text, atoms that cannot be compiled, codes of another compiler."""

from __future__ import annotations

from collections.abc import Sequence

from parametric_memory.errors import AdapterMismatchError, CompilationError
from parametric_memory.types import AdapterSpec, Atom, AtomCode


def refuse_empty(atoms: Sequence[Atom], *, what: str = "atom") -> None:
    """Refuse atoms without text.

    Args:
        atoms: What is to be compiled.
        what: What an atom is to the compiler.

    Raises:
        CompilationError: Of the first that has none.
    """
    for atom in atoms:
        if not atom.text.strip():
            raise failure(atom, "its text is empty; remove it", what=what)


def failure(atom: Atom, problem: str, *, what: str = "atom") -> CompilationError:
    """Return the error that names an atom, and what is wrong with it and to be done."""
    return CompilationError(
        f"compiling {what} {atom.id} ({atom.statement[:60]!r}): {problem}",
        document_id=atom.document_id,
        span=atom.span,
    )


def refuse_foreign(code: AtomCode, compiler: str, spec: AdapterSpec, *, what: str = "atom") -> None:
    """Refuse a code that another checkpoint made, or for another base model.

    Raises:
        AdapterMismatchError: If it did.
    """
    if code.compiler != compiler or code.spec != spec:
        raise AdapterMismatchError(
            f"reading the code of {what} {code.atom_id}: it was compiled by {code.compiler} for "
            f"{code.spec.base_model}, not by {compiler}; compile its document again",
            expected=compiler,
            actual=code.compiler,
        )

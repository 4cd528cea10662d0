"""The mutants fit the code: `make mutants` runs them."""

import pytest

from tests.mutants import DOCUMENT, ROOT, Mutant, mutants, with_table


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_a_mutant_applies_and_its_test_exists(mutant: Mutant) -> None:
    file, name = mutant.test.split("::")

    assert mutant.apply(ROOT, "--check")
    assert f"def {name}(" in (ROOT / file).read_text()


def test_the_document_lists_every_mutant() -> None:
    assert with_table(DOCUMENT.read_text()) == DOCUMENT.read_text()
